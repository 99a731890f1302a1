// Package tracer is a small path tracer: spheres of matte, metal and glass on
// a floor under a sky, with soft shadows. The same tile comes out the same
// wherever it is rendered, so that two providers can be compared.
package tracer

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
)

// Job says what to render.
type Job struct {
	Scene         string
	Width, Height int             // of the whole picture
	Tile          image.Rectangle // the part to render; empty = all
	Samples       int             // paths for each pixel
}

// Limits of a job.
const (
	maxSide    = 8192
	maxSamples = 4096
	maxBounces = 7
	near       = 1e-4
)

// Check says what is wrong with a job.
func (j Job) Check() error {
	if j.Width < 1 || j.Height < 1 || j.Width > maxSide || j.Height > maxSide {
		return fmt.Errorf("a picture of %d×%d: want sides of 1 to %d", j.Width, j.Height, maxSide)
	}
	if j.Samples < 1 || j.Samples > maxSamples {
		return fmt.Errorf("%d samples: want 1 to %d", j.Samples, maxSamples)
	}
	if !j.area().In(image.Rect(0, 0, j.Width, j.Height)) || j.area().Empty() {
		return errors.New("the tile is not a part of the picture")
	}
	_, err := sceneOf(j.Scene)
	return err
}

func (j Job) area() image.Rectangle {
	if j.Tile == (image.Rectangle{}) {
		return image.Rect(0, 0, j.Width, j.Height)
	}
	return j.Tile
}

// Render renders the tile. The image has the size of the tile and begins at
// its place in the whole picture.
func Render(j Job) (*image.RGBA, error) {
	if err := j.Check(); err != nil {
		return nil, err
	}
	s, err := sceneOf(j.Scene)
	if err != nil {
		return nil, err
	}
	cam := newCamera(s, j)
	img := image.NewRGBA(j.area())
	for y := j.area().Min.Y; y < j.area().Max.Y; y++ {
		for x := j.area().Min.X; x < j.area().Max.X; x++ {
			img.SetRGBA(x, y, s.pixel(cam, x, y, j.Samples))
		}
	}
	return img, nil
}

type camera struct {
	eye, corner, right, down vec // a pixel's direction is corner + x·right + y·down
}

func newCamera(s *scene, j Job) camera {
	forward := s.look.sub(s.eye).unit()
	right := cross(vec{0, 1, 0}, forward).unit()
	down := cross(right, forward)
	step := 2 / float64(j.Height)
	corner := forward.scale(s.zoom).sub(right.scale(float64(j.Width) / float64(j.Height))).sub(down)
	return camera{s.eye, corner, right.scale(step), down.scale(step)}
}

// pixel averages paths that are spread evenly over the pixel.
func (s *scene) pixel(c camera, x, y, samples int) color.RGBA {
	d := roll(x, y, 1)
	grid := int(math.Sqrt(float64(samples)))
	var sum vec
	for i := range samples {
		dx, dy := d.next(), d.next()
		if i < grid*grid {
			dx, dy = (float64(i%grid)+dx)/float64(grid), (float64(i/grid)+dy)/float64(grid)
		}
		dir := c.corner.add(c.right.scale(float64(x) + dx)).add(c.down.scale(float64(y) + dy)).unit()
		sum = sum.add(s.path(c.eye, dir, &d))
	}
	return film(sum.scale(1 / float64(samples)))
}

// film turns light into a colour: bright parts are compressed, not cut.
func film(c vec) color.RGBA {
	tone := func(v float64) uint8 {
		v *= 0.72
		v = v * (2.51*v + 0.03) / (v*(2.43*v+0.59) + 0.14)
		return uint8(255*math.Pow(min(max(v, 0), 1), 1/2.2) + 0.5)
	}
	return color.RGBA{tone(c.x), tone(c.y), tone(c.z), 255}
}

type hit struct {
	at, normal vec
	material
}

// meet finds what a ray meets first.
func (s *scene) meet(from, dir vec) (h hit, ok bool) {
	best, which := math.Inf(1), -1
	for i := range s.spheres {
		if t := s.spheres[i].distance(from, dir); t < best {
			best, which = t, i
		}
	}
	if dir.y < 0 {
		if t := -from.y / dir.y; t > near && t < best {
			p := from.add(dir.scale(t))
			m := material{matte, s.ground(p), 0}
			// Far away the pattern would flicker; the haze swallows it.
			m.colour = mix(m.colour, s.haze.scale(0.8), 1-math.Exp(-t*t/900))
			return hit{p, vec{0, 1, 0}, m}, true
		}
	}
	if which < 0 {
		return h, false
	}
	p := from.add(dir.scale(best))
	b := &s.spheres[which]
	return hit{p, p.sub(b.at).scale(1 / b.radius), b.material}, true
}

func (b *sphere) distance(from, dir vec) float64 {
	o := from.sub(b.at)
	half := o.dot(dir)
	q := half*half - o.dot(o) + b.radius*b.radius
	if q < 0 {
		return math.Inf(1)
	}
	root := math.Sqrt(q)
	if t := -half - root; t > near {
		return t
	}
	if t := -half + root; t > near {
		return t
	}
	return math.Inf(1)
}

// shade is how much of the sun reaches a point; glass lets most of it through.
func (s *scene) shade(from, dir vec) float64 {
	light := 1.0
	for i := range s.spheres {
		b := &s.spheres[i]
		if b.kind == lamp || math.IsInf(b.distance(from, dir), 1) {
			continue
		}
		if b.kind != glass {
			return 0
		}
		light *= 0.75
	}
	return light
}

// path follows one path of light backwards.
func (s *scene) path(from, dir vec, d *dice) (light vec) {
	weight := vec{1, 1, 1}
	for bounce := range maxBounces {
		h, ok := s.meet(from, dir)
		if !ok {
			return light.add(weight.mul(s.sky(dir)))
		}
		if h.kind == lamp {
			return light.add(weight.mul(h.colour).scale(min(1, 0.35+float64(bounce))))
		}
		var end bool
		var direct vec
		dir, weight, direct, end = s.bounce(h, dir, weight, d)
		light = light.add(direct)
		if end || weight.max() < 0.01 {
			return light
		}
		from = h.at.add(dir.scale(near))
	}
	return light
}

// bounce is what happens to a path at a surface.
func (s *scene) bounce(h hit, dir, weight vec, d *dice) (next, left, direct vec, end bool) {
	switch h.kind {
	case metal:
		r := reflect(dir, h.normal)
		if h.rough > 0 {
			r = d.around(r, h.rough)
		}
		return r, weight.mul(h.colour), vec{}, r.dot(h.normal) <= 0
	case glass:
		return bend(h, dir, d), weight.mul(h.colour), vec{}, false
	}
	gloss := 0.04
	if h.normal.y == 1 && h.at.y < near {
		gloss = s.gloss
	}
	if d.next() < gloss+(1-gloss)*math.Pow(1-max(0, -dir.dot(h.normal)), 5)*0.6 {
		return reflect(dir, h.normal), weight, vec{}, false
	}
	weight = weight.mul(h.colour)
	sun := d.around(s.sun, 0.045)
	if cos := sun.dot(h.normal); cos > 0 {
		direct = weight.mul(s.sunlight).scale(cos * s.shade(h.at.add(h.normal.scale(near)), sun))
	}
	return d.around(h.normal, 1), weight, direct, false
}

// bend sends a path through glass or back from it.
func bend(h hit, dir vec, d *dice) vec {
	const index = 1.5
	n, ratio := h.normal, 1/index
	if dir.dot(n) > 0 {
		n, ratio = n.scale(-1), index
	}
	through, ok := refract(dir, n, ratio)
	if !ok || d.next() < schlick(min(1, -dir.dot(n)), ratio) {
		return reflect(dir, n)
	}
	return through.unit()
}
