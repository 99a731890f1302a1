package exeunit

// The sub-commands under which the program starts itself again.
const (
	SupervisorCommand = "exe-unit"
	WASMCommand       = "runtime-wasm"
)

// Engine names the runtime and FuelVersion its table of costs. Fuel counts of
// different versions cannot be compared.
const (
	Engine      = "wazero/1.12.0"
	FuelVersion = "fuel/v1"
)

// Request is what a supervisor asks of its runtime, one field set. Load is
// answered by Loaded; Run by Output frames and one Done; Stop by that Done.
type Request struct {
	Load *Load `json:"load,omitempty"`
	Run  *Run  `json:"run,omitempty"`
	Stop bool  `json:"stop,omitempty"`
}

// Load compiles modules and keeps them.
type Load struct {
	Modules     []Module `json:"modules"`
	CacheDir    string   `json:"cacheDir"` // of compiled code
	MemoryPages uint32   `json:"memoryPages"`
	Threads     int      `json:"threads"`
}

// Module is one program of an image.
type Module struct {
	ID   string `json:"id"`
	Path string `json:"path"`
}

// Run starts a new instance of a module. One run goes at a time.
type Run struct {
	Module string   `json:"module"`
	Args   []string `json:"args"`
	Env    []string `json:"env"` // NAME=value
	Mounts []Mount  `json:"mounts"`
	// Fuel is what the run may use, 0 = any amount. WallMS likewise.
	Fuel   int64 `json:"fuel"`
	WallMS int64 `json:"wallMs"`
	// StorageBytes is how much the mounts may hold in all, 0 = any amount.
	StorageBytes int64 `json:"storageBytes"`
}

// Mount makes a host directory visible to the guest.
type Mount struct {
	Dir      string `json:"dir"`
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Report is what a runtime tells, one field set.
type Report struct {
	Loaded *Loaded `json:"loaded,omitempty"`
	Output *Output `json:"output,omitempty"`
	Fuel   *int64  `json:"fuel,omitempty"` // used so far by the present run
	Done   *Done   `json:"done,omitempty"`
}

// Loaded answers Load. Unmetered names modules whose fuel cannot be counted;
// only killing the process stops them.
type Loaded struct {
	Error     string   `json:"error,omitempty"`
	Unmetered []string `json:"unmetered,omitempty"`
}

// Output is what the guest wrote.
type Output struct {
	Stderr bool   `json:"stderr,omitempty"`
	Bytes  []byte `json:"bytes"`
}

// Done ends a run. Code is the guest's exit code; a guest that did not get to
// exit has Code -1 and Error. Stopped says why the host ended it.
type Done struct {
	Code    int    `json:"code"`
	Error   string `json:"error,omitempty"`
	Fuel    int64  `json:"fuel"`
	Stopped string `json:"stopped,omitempty"`
	UserUS  int64  `json:"userUs"`
	SysUS   int64  `json:"sysUs"`
}

// Reasons why a host ended a run.
const (
	StoppedByHost      = "stopped"
	StoppedByFuel      = "fuel"
	StoppedByWallClock = "wall-clock"
)
