package tracer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

type kind int

const (
	matte kind = iota
	metal
	glass
	lamp
)

type material struct {
	kind   kind
	colour vec
	rough  float64 // of metal
}

type sphere struct {
	at     vec
	radius float64
	material
}

// scene is spheres over a plane at height 0, under a sky.
type scene struct {
	spheres        []sphere
	eye, look      vec
	zoom           float64
	sun            vec // towards it
	sunlight       vec
	zenith, haze   vec
	floor, inlay   vec
	gloss, squares float64 // of the floor
}

// ground is what the floor is made of at a point.
func (s *scene) ground(p vec) vec {
	if (int(math.Floor(p.x/s.squares))+int(math.Floor(p.z/s.squares)))&1 == 0 {
		return s.floor
	}
	return s.inlay
}

// sky is the light that comes from a direction.
func (s *scene) sky(d vec) vec {
	t := math.Sqrt(max(0, d.y))
	c := mix(s.haze, s.zenith, t)
	glow := max(0, d.dot(s.sun))
	return c.add(s.sunlight.scale(0.04 * math.Pow(glow, 24))).add(s.sunlight.scale(0.5 * math.Pow(glow, 900)))
}

var scenes = map[string]func() *scene{"marbles": marbles, "dusk": dusk, "orbit": orbit}

// Scenes lists the names that Render knows.
func Scenes() []string { return slices.Sorted(maps.Keys(scenes)) }

func sceneOf(name string) (*scene, error) {
	make, ok := scenes[name]
	if !ok {
		return nil, fmt.Errorf("no scene %q; there are %s", name, strings.Join(Scenes(), ", "))
	}
	return make(), nil
}

var palette = []vec{hex(0xe4572e), hex(0xf3a712), hex(0x29335c), hex(0x669bbc), hex(0xa8c686), hex(0xf0ead6), hex(0x7b2d52)}

// marbles: three large spheres among many small ones, in the afternoon.
func marbles() *scene {
	s := &scene{
		eye: vec{1.2, 2.3, -7.2}, look: vec{0.05, 0.72, 0}, zoom: 2.15,
		sun: vec{-0.75, 0.5, -0.42}.unit(), sunlight: vec{2.7, 2.2, 1.55},
		zenith: vec{0.08, 0.2, 0.55}, haze: vec{0.62, 0.68, 0.78},
		floor: hex(0xb9ab93), inlay: hex(0x47545e), gloss: 0.06, squares: 1,
	}
	s.spheres = []sphere{
		{vec{-2.05, 1, 0.6}, 1, material{matte, hex(0xe4572e), 0}},
		{vec{0, 1, 0}, 1, material{glass, vec{1, 1, 1}, 0}},
		{vec{2.05, 1, 0.6}, 1, material{metal, hex(0xf4d58d), 0.03}},
	}
	d := roll(7, 11, 13)
	for i := range 12 {
		a := float64(i)/12*2*math.Pi + 0.35*d.next()
		r := 2.5 + 1.1*d.next()
		m := material{matte, palette[i%len(palette)], 0}
		switch i % 4 {
		case 1:
			m = material{metal, mix(m.colour, vec{1, 1, 1}, 0.5), 0.12 * d.next()}
		case 3:
			m = material{glass, vec{0.95, 1, 0.97}, 0}
		}
		radius := 0.24 + 0.14*d.next()
		s.spheres = append(s.spheres, sphere{vec{r * math.Cos(a), radius, 0.2 + r*math.Sin(a)}, radius, m})
	}
	return s
}

// dusk: lamps on a polished floor after sunset.
func dusk() *scene {
	s := &scene{
		eye: vec{0.4, 1.5, -6.4}, look: vec{0, 0.75, 0}, zoom: 2.1,
		sun: vec{0.5, 0.14, 0.85}.unit(), sunlight: vec{1.5, 0.72, 0.34},
		zenith: vec{0.05, 0.07, 0.19}, haze: vec{0.72, 0.36, 0.3},
		floor: hex(0x3b3f4a), inlay: hex(0x23262e), gloss: 0.25, squares: 0.8,
	}
	s.spheres = []sphere{
		{vec{-1.3, 0.9, 0.3}, 0.9, material{glass, vec{0.97, 0.98, 1}, 0}},
		{vec{1.25, 1.05, 0.8}, 1.05, material{metal, hex(0xd9dde3), 0.02}},
		{vec{0.1, 0.42, -1.1}, 0.42, material{matte, hex(0xe4572e), 0}},
		{vec{-0.4, 0.35, 1.9}, 0.35, material{lamp, vec{7, 3.6, 1.4}, 0}},
		{vec{2.5, 0.3, -0.9}, 0.3, material{lamp, vec{1.2, 2.8, 6}, 0}},
		{vec{-2.7, 0.5, -0.4}, 0.5, material{metal, hex(0xc87941), 0.2}},
	}
	return s
}

// orbit: a ring of spheres, from matte to mirror.
func orbit() *scene {
	s := &scene{
		eye: vec{0.9, 3.1, -6.4}, look: vec{0, 0.35, 0}, zoom: 2.1,
		sun: vec{0.72, 0.55, -0.3}.unit(), sunlight: vec{2.6, 2.2, 1.8},
		zenith: vec{0.16, 0.2, 0.42}, haze: vec{0.7, 0.56, 0.52},
		floor: hex(0x98a1a8), inlay: hex(0x6c7882), gloss: 0.1, squares: 1.5,
	}
	s.spheres = append(s.spheres, sphere{vec{0, 0.95, 0}, 0.95, material{glass, vec{1, 1, 1}, 0}})
	for i := range 10 {
		a := float64(i) / 10 * 2 * math.Pi
		m := material{metal, mix(palette[i%len(palette)], vec{1, 1, 1}, 0.25), float64(i) / 14}
		if i%2 == 0 {
			m = material{matte, palette[i/2%len(palette)], 0}
		}
		s.spheres = append(s.spheres, sphere{vec{2.3 * math.Cos(a), 0.45, 2.3 * math.Sin(a)}, 0.45, m})
	}
	return s
}
