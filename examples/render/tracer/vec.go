package tracer

import "math"

// vec is a point, a direction or a colour.
type vec struct{ x, y, z float64 }

func (a vec) add(b vec) vec       { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec       { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) mul(b vec) vec       { return vec{a.x * b.x, a.y * b.y, a.z * b.z} }
func (a vec) scale(k float64) vec { return vec{a.x * k, a.y * k, a.z * k} }
func (a vec) dot(b vec) float64   { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) unit() vec           { return a.scale(1 / math.Sqrt(a.dot(a))) }
func (a vec) max() float64        { return max(a.x, a.y, a.z) }
func mix(a, b vec, t float64) vec { return a.scale(1 - t).add(b.scale(t)) }
func reflect(d, n vec) vec        { return d.sub(n.scale(2 * d.dot(n))) }
func cross(a, b vec) vec          { return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x} }
func hex(c uint32) vec            { return vec{chan8(c >> 16), chan8(c >> 8), chan8(c)} }
func chan8(c uint32) float64      { return math.Pow(float64(c&255)/255, 2.2) }
func schlick(cos, ratio float64) float64 {
	r := (1 - ratio) / (1 + ratio)
	r *= r
	return r + (1-r)*math.Pow(1-cos, 5)
}

// refract bends d at a surface with normal n; ok is false when all light stays
// inside.
func refract(d, n vec, ratio float64) (vec, bool) {
	cos := -d.dot(n)
	k := 1 - ratio*ratio*(1-cos*cos)
	if k < 0 {
		return vec{}, false
	}
	return d.scale(ratio).add(n.scale(ratio*cos - math.Sqrt(k))), true
}

// basis gives two directions that are perpendicular to n and to each other.
func basis(n vec) (u, v vec) {
	a := vec{1, 0, 0}
	if math.Abs(n.x) > 0.9 {
		a = vec{0, 1, 0}
	}
	u = cross(a, n).unit()
	return u, cross(n, u)
}

// dice is a small generator of random numbers. Each pixel has its own, seeded
// by its place, so a tile looks the same whoever renders it.
type dice uint64

func roll(x, y, seed int) dice {
	d := dice(uint64(x)*0x9e3779b97f4a7c15 ^ uint64(y)*0xc2b2ae3d27d4eb4f ^ uint64(seed)*0x165667b19e3779f9)
	d.next()
	return d
}

// next is a number in [0, 1).
func (d *dice) next() float64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// around is a direction near n: cosine-distributed over the half space for
// spread 1, within a narrow cone for less.
func (d *dice) around(n vec, spread float64) vec {
	phi, r2 := 2*math.Pi*d.next(), d.next()*spread*spread
	r := math.Sqrt(r2)
	u, v := basis(n)
	return u.scale(r * math.Cos(phi)).add(v.scale(r * math.Sin(phi))).add(n.scale(math.Sqrt(max(0, 1-r2))))
}
