package secrets

import "fmt"

// Webhooks keeps where news are sent, by id: with the secret that they are
// signed with, and with addresses that are often secrets themselves. What a
// webhook says is its owner's matter. Webhooks is safe for concurrent use.
type Webhooks struct{ kv *journal }

const webhooks = "webhook/"

// Put stores a webhook in place of the one that had its id. It is durable when
// Put returns.
func (w *Webhooks) Put(id string, webhook []byte) error {
	if err := w.kv.put(webhooks+id, webhook); err != nil {
		return fmt.Errorf("webhook %s: %w", id, err)
	}
	return nil
}

// Get returns a webhook.
func (w *Webhooks) Get(id string) ([]byte, bool) { return w.kv.get(webhooks + id) }

// List names all webhooks, in order.
func (w *Webhooks) List() []string { return w.kv.names(webhooks) }

// Delete erases a webhook; one that is not there is no error.
func (w *Webhooks) Delete(id string) error {
	if err := w.kv.remove(webhooks + id); err != nil {
		return fmt.Errorf("webhook %s: %w", id, err)
	}
	return nil
}
