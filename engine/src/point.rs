//! Points of −x² + y² = 1 + dx²y², several side by side. All formulas are complete: they hold for every point.

use crate::field::{D, D2, Field, HALVED, ONE, P, ROOT, Words, ZERO, power_p58};

/// X/Z, Y/Z and T = XY/Z.
#[derive(Clone, Copy)]
pub struct Point<F> {
    pub x: F,
    pub y: F,
    pub z: F,
    pub t: F,
}

/// What an addition needs of a summand with Z = 1: y + x, y − x, 2dxy.
#[derive(Clone, Copy)]
pub struct Affine<F> {
    plus: F,
    minus: F,
    t2d: F,
}

/// The same of any summand: Y + X, Y − X, 2dT; and 2Z.
#[derive(Clone, Copy)]
pub struct Cached<F> {
    affine: Affine<F>,
    z2: F,
}

impl<F: Field> Point<F> {
    #[inline(always)]
    pub fn cached(&self) -> Cached<F> {
        let affine = Affine {
            plus: self.y.plus(self.x),
            minus: self.y.minus(self.x),
            t2d: self.t.times(F::splat(&D2)),
        };
        Cached { affine, z2: self.z.plus(self.z) }
    }

    #[inline(always)]
    pub fn double(&self) -> Self {
        let [e, f, g, h] = doubling(self.x, self.y, self.z);
        Self { x: e.times(f), y: g.times(h), z: f.times(g), t: e.times(h) }
    }

    #[inline(always)]
    pub fn add(&self, other: &Cached<F>) -> Self {
        let a = self.y.minus(self.x).mul(other.affine.minus);
        let b = self.y.plus(self.x).mul(other.affine.plus);
        let c = self.t.mul(other.affine.t2d);
        let d = self.z.mul(other.z2);
        let (e, h) = (F::tighten(F::sub(b, a)), F::tighten(F::add(b, a)));
        let (f, g) = (F::tighten(F::sub(d, c)), F::tighten(F::add(d, c)));
        Self { x: e.times(f), y: g.times(h), z: f.times(g), t: e.times(h) }
    }

    /// The sum and the difference, each as X and Y, over one Z.
    #[inline(always)]
    pub fn add_and_sub(&self, other: &Cached<F>) -> ([(F, F); 2], F) {
        let (minus, plus) = (self.y.minus(self.x), self.y.plus(self.x));
        let c = self.t.mul(other.affine.t2d);
        let d = self.z.mul(other.z2);
        let (f, g) = (F::tighten(F::sub(d, c)), F::tighten(F::add(d, c)));
        let (a, b) = (minus.mul(other.affine.minus), plus.mul(other.affine.plus));
        let (e, h) = (F::tighten(F::sub(b, a)), F::tighten(F::add(b, a)));
        let sum = (e.times(f), g.times(h));
        let (a, b) = (minus.mul(other.affine.plus), plus.mul(other.affine.minus));
        let (e, h) = (F::tighten(F::sub(b, a)), F::tighten(F::add(b, a)));
        let difference = (e.times(g), f.times(h));
        ([sum, difference], f.times(g))
    }
}

/// E, F, G and H: the double is EF, GH, FG and, for T, EH.
#[inline(always)]
fn doubling<F: Field>(x: F, y: F, z: F) -> [F; 4] {
    let (a, b, zz) = (x.square(), y.square(), z.square());
    let sum = x.plus(y).square();
    let h = F::tighten(F::add(a, b));
    let e = F::tighten(F::sub(F::add(a, b), sum));
    let g = F::tighten(F::sub(a, b));
    let f = g.plus(F::tighten(F::add(zz, zz)));
    [e, f, g, h]
}

impl<F: Field> Affine<F> {
    #[inline(always)]
    pub fn identity() -> Self {
        let one = F::splat(&ONE);
        Self { plus: one, minus: one, t2d: F::splat(&ZERO) }
    }

    #[inline(always)]
    pub fn new(x: F, y: F) -> Self {
        Self { plus: y.plus(x), minus: y.minus(x), t2d: x.times(y).times(F::splat(&D2)) }
    }

    /// Becomes the other where asked; the same for all lanes. Takes the same time either way.
    #[inline(always)]
    pub fn become_if(&mut self, other: &Self, wanted: bool) {
        (self.plus, _) = F::swap_if(wanted, self.plus, other.plus);
        (self.minus, _) = F::swap_if(wanted, self.minus, other.minus);
        (self.t2d, _) = F::swap_if(wanted, self.t2d, other.t2d);
    }
}

impl<F: Field> Cached<F> {
    #[inline(always)]
    pub fn identity() -> Self {
        let one = F::splat(&ONE);
        Self { affine: Affine::identity(), z2: one.plus(one) }
    }

    /// Becomes the other where asked, as [`Affine::become_if`].
    #[inline(always)]
    pub fn become_if(&mut self, other: &Self, wanted: bool) {
        self.affine.become_if(&other.affine, wanted);
        (self.z2, _) = F::swap_if(wanted, self.z2, other.z2);
    }
}

/// A sum under way: Y − X and Y + X rather than X and Y, and Z not carried.
#[derive(Clone, Copy)]
pub struct Sum<F: Field> {
    minus: F,
    plus: F,
    z: F::Loose,
    t: F,
}

/// The two, or the other way round.
#[inline(always)]
fn swap<F: Field, const CONSTANT_TIME: bool>(wanted: bool, one: &F, other: &F) -> (F, F) {
    if CONSTANT_TIME {
        return F::swap_if(wanted, *one, *other);
    }
    // By address: cheaper than moving both.
    let both = [one, other];
    (*both[usize::from(wanted)], *both[usize::from(!wanted)])
}

impl<F: Field> Sum<F> {
    #[inline(always)]
    pub fn zero() -> Self {
        let (zero, one) = (F::splat(&ZERO), F::splat(&ONE));
        Self { minus: one, plus: one, z: F::one(), t: zero }
    }

    /// Nothing but a point, or its negative. In constant time nothing depends on which.
    #[inline(always)]
    pub fn of<const CONSTANT_TIME: bool>(point: &Affine<F>, negative: bool) -> Self {
        let (minus, plus) = swap::<F, CONSTANT_TIME>(negative, &point.minus, &point.plus);
        let [halved, opposite] = HALVED.map(|words| F::splat(&words));
        let (halved, _) = swap::<F, CONSTANT_TIME>(negative, &halved, &opposite);
        Self { minus, plus, z: F::one(), t: point.t2d.times(halved) }
    }

    /// Adds a point, or takes it away. In constant time nothing depends on which.
    #[inline(always)]
    pub fn add<const CONSTANT_TIME: bool>(&self, other: &Affine<F>, negative: bool) -> Self {
        self.add_over::<CONSTANT_TIME>(other, F::add(self.z, self.z), negative)
    }

    /// The same for any Z.
    #[inline(always)]
    pub fn add_cached<const CONSTANT_TIME: bool>(&self, other: &Cached<F>, negative: bool) -> Self {
        self.add_over::<CONSTANT_TIME>(&other.affine, F::tighten(self.z).mul(other.z2), negative)
    }

    /// `d` is twice the product of both Z.
    #[inline(always)]
    fn add_over<const CONSTANT_TIME: bool>(&self, other: &Affine<F>, d: F::Loose, negative: bool) -> Self {
        let [e, f, g, h] = self.adding::<CONSTANT_TIME>(other, d, negative);
        let (x, y) = (e.mul(f), g.mul(h));
        Self { minus: F::tighten(F::sub(y, x)), plus: F::tighten(F::add(y, x)), z: f.mul(g), t: e.times(h) }
    }

    /// X, Y and Z after the last addition: nobody needs T any more.
    #[inline(always)]
    pub fn add_last<const CONSTANT_TIME: bool>(&self, other: &Affine<F>, negative: bool) -> [F; 3] {
        let [e, f, g, h] = self.adding::<CONSTANT_TIME>(other, F::add(self.z, self.z), negative);
        [e.times(f), g.times(h), f.times(g)]
    }

    /// What the coordinates are products of: EF, GH, FG and EH.
    #[inline(always)]
    fn adding<const CONSTANT_TIME: bool>(&self, other: &Affine<F>, d: F::Loose, negative: bool) -> [F; 4] {
        let (minus, plus) = swap::<F, CONSTANT_TIME>(negative, &other.minus, &other.plus);
        let a = self.minus.mul(minus);
        let b = self.plus.mul(plus);
        let c = self.t.mul(other.t2d);
        let (e, h) = (F::tighten(F::sub(b, a)), F::tighten(F::add(b, a)));
        let (less, more) = (F::tighten(F::sub(d, c)), F::tighten(F::add_to_sum(d, c)));
        let (f, g) = swap::<F, CONSTANT_TIME>(negative, &less, &more);
        [e, f, g, h]
    }

    /// 2^times times the sum; `times` is at least 1. Only the last needs T.
    #[inline(always)]
    pub fn doubled(&self, times: usize) -> Self {
        let [mut x, mut y, mut z] = self.coordinates();
        for _ in 1..times {
            let [e, f, g, h] = doubling(x, y, z);
            (x, y, z) = (e.times(f), g.times(h), f.times(g));
        }
        let [e, f, g, h] = doubling(x, y, z);
        let (x, y) = (e.mul(f), g.mul(h));
        Self { minus: F::tighten(F::sub(y, x)), plus: F::tighten(F::add(y, x)), z: f.mul(g), t: e.times(h) }
    }

    /// 2X, 2Y and 2Z.
    #[inline(always)]
    pub fn coordinates(&self) -> [F; 3] {
        [self.plus.minus(self.minus), self.plus.plus(self.minus), F::tighten(F::add(self.z, self.z))]
    }
}

/// Points from their only valid encodings (Monero `ge_frombytes_vartime`): y below p, and no −0. Lanes that hold no point get
/// the identity, and `false`.
#[inline(always)]
pub fn decompress<F: Field>(encodings: &[Words], valid: &mut [bool]) -> Point<F> {
    let mut y = [ZERO; 8];
    for ((y, encoding), valid) in y.iter_mut().zip(encodings).zip(valid.iter_mut()) {
        *y = *encoding;
        y[3] &= u64::MAX >> 1;
        *valid = is_less(y, &P);
        if !*valid {
            *y = ONE;
        }
    }
    let one = F::splat(&ONE);
    let lanes = &mut [ZERO; 8][..F::LANES];
    let yy = F::load(&y[..F::LANES]);
    let y2 = yy.squared();
    let u = y2.minus(one);
    let v = y2.times(F::splat(&D)).plus(one);
    // x = u·v³·(u·v⁷)^((p − 5)/8), times a root of −1 where v·x² = −u (RFC 8032 §5.1.3).
    let v3 = v.squared().times(v);
    let root = power_p58(u.times(v3.squared().times(v))).times(u).times(v3);
    let check = v.times(root.squared());
    let mut candidates = [[ZERO; 8]; 2];
    root.store(&mut candidates[0][..F::LANES]);
    root.times(F::splat(&ROOT)).store(&mut candidates[1][..F::LANES]);
    let mut right = [[ZERO; 8]; 2];
    check.minus(u).store(&mut right[0][..F::LANES]);
    check.plus(u).store(&mut right[1][..F::LANES]);
    for lane in 0..F::LANES {
        let which = match (right[0][lane] == ZERO, right[1][lane] == ZERO) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => {
                valid[lane] = false;
                0
            }
        };
        let x = candidates[which][lane];
        let odd = encodings[lane][3] >> 63;
        if x == ZERO && odd == 1 {
            valid[lane] = false;
        }
        lanes[lane] = if x[0] & 1 == odd { x } else { negated(&x) };
        if !valid[lane] {
            (lanes[lane], y[lane]) = (ZERO, ONE);
        }
    }
    let (x, y) = (F::load(lanes), F::load(&y[..F::LANES]));
    Point { x, y, z: one, t: x.times(y) }
}

fn is_less(a: &Words, b: &Words) -> bool {
    a.iter().rev().cmp(b.iter().rev()).is_lt()
}

/// p − x for an x below p; 0 for 0.
fn negated(x: &Words) -> Words {
    if *x == ZERO {
        return ZERO;
    }
    let mut borrow = false;
    let mut out = ZERO;
    for (out, (p, x)) in out.iter_mut().zip(P.iter().zip(x)) {
        let (less, one) = p.overflowing_sub(*x);
        let (less, two) = less.overflowing_sub(u64::from(borrow));
        (*out, borrow) = (less, one | two);
    }
    out
}
