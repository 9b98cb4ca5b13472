//! Multiples of points, so that a product is nothing but additions: row i holds 1 to 2^(w−1) times 2^(wi)·P.

use crate::digits::rows;
use crate::field::{Field, invert};
use crate::point::{Affine, Point, Sum};

/// A table of `LANES` points side by side. The points are public, and so is what is in here.
pub struct Table<F> {
    window: usize,
    entries: Vec<Affine<F>>,
    work: Work<F>,
}

/// Coordinates that wait for the inverse of their Z.
struct Work<F> {
    points: Vec<(F, F, usize)>,
    z: Vec<F>,
    products: Vec<F>,
}

/// Rows are inverted together until there are so many entries.
const TOGETHER: usize = 256;

impl<F: Field> Table<F> {
    /// Space for a table.
    pub fn new(window: usize) -> Self {
        let entries = rows(window) << (window - 1);
        let work = Work { points: Vec::new(), z: Vec::new(), products: Vec::new() };
        Self { window, entries: vec![Affine::identity(); entries], work }
    }

    /// Fills it with the multiples of a point.
    #[inline(always)]
    pub fn fill(&mut self, point: &Point<F>) {
        let half = 1usize << (self.window - 1);
        let count = rows(self.window);
        let together = (TOGETHER / half).max(1);
        let mut base = *point;
        let mut row = 0;
        while row < count {
            let some = together.min(count - row);
            self.work.points.clear();
            self.work.z.clear();
            for _ in 0..some {
                let top = self.work.multiples(&base, half);
                base = top.double();
            }
            self.work.normalise(&mut self.entries[row * half..][..some * half]);
            row += some;
        }
    }

    /// X, Y and Z of the product with a scalar, given by its digits. What is read depends on them.
    #[inline(always)]
    pub fn product(&self, digits: &[i16]) -> [F; 3] {
        let start = match digits[0] {
            0 => Sum::zero(),
            digit => Sum::of::<false>(self.entry(0, digit), digit < 0),
        };
        self.add_rows(start, digits, 1)
    }

    /// The same, and a point.
    #[inline(always)]
    pub fn product_plus(&self, point: &Affine<F>, digits: &[i16]) -> [F; 3] {
        self.add_rows(Sum::of::<false>(point, false), digits, 0)
    }

    #[inline(always)]
    fn add_rows(&self, mut sum: Sum<F>, digits: &[i16], from: usize) -> [F; 3] {
        let last = digits.len() - 1;
        for row in from..last {
            if digits[row + 1] != 0 {
                F::prefetch(self.entry(row + 1, digits[row + 1]));
            }
            if digits[row] != 0 {
                sum = sum.add::<false>(self.entry(row, digits[row]), digits[row] < 0);
            }
        }
        match digits[last] {
            0 => sum.coordinates(),
            digit => sum.add_last::<false>(self.entry(last, digit), digit < 0),
        }
    }

    /// `product` without an access or a branch that depends on the digits.
    #[inline(always)]
    pub fn product_in_constant_time(&self, digits: &[i16]) -> [F; 3] {
        let start = Sum::of::<true>(&self.entry_in_constant_time(0, digits[0]), digits[0] < 0);
        self.add_rows_in_constant_time(start, digits, 1)
    }

    /// `product_plus` likewise.
    #[inline(always)]
    pub fn product_plus_in_constant_time(&self, point: &Affine<F>, digits: &[i16]) -> [F; 3] {
        self.add_rows_in_constant_time(Sum::of::<true>(point, false), digits, 0)
    }

    #[inline(always)]
    fn add_rows_in_constant_time(&self, mut sum: Sum<F>, digits: &[i16], from: usize) -> [F; 3] {
        let last = digits.len() - 1;
        for (row, digit) in digits.iter().enumerate().take(last).skip(from) {
            sum = sum.add::<true>(&self.entry_in_constant_time(row, *digit), *digit < 0);
        }
        sum.add_last::<true>(&self.entry_in_constant_time(last, digits[last]), digits[last] < 0)
    }

    /// The entry of a row for a digit that is not 0.
    #[inline(always)]
    fn entry(&self, row: usize, digit: i16) -> &Affine<F> {
        let half = 1usize << (self.window - 1);
        &self.entries[row * half + usize::from(digit.unsigned_abs()) - 1]
    }

    /// The same for any digit, also 0, by reading all.
    #[inline(always)]
    fn entry_in_constant_time(&self, row: usize, digit: i16) -> Affine<F> {
        let half = 1usize << (self.window - 1);
        let mut found = Affine::identity();
        let wanted = digit.unsigned_abs();
        for (number, entry) in (1u16..).zip(&self.entries[row * half..][..half]) {
            found.become_if(entry, number == wanted);
        }
        found
    }
}

impl<F: Field> Work<F> {
    /// Appends 1 to `half` times a point; gives the last. Small multiples are added to and taken from large ones: sum and
    /// difference share a Z, and most of the work.
    #[inline(always)]
    fn multiples(&mut self, base: &Point<F>, half: usize) -> Point<F> {
        let start = self.points.len();
        let unset = (base.x, base.y, 0);
        self.points.resize(start + half, unset);
        // Small: 1 to m. Large: 2m + 1 apart.
        let small = match half {
            0..=4 => 1,
            5..=16 => 2,
            17..=64 => 4,
            _ => 8,
        };
        let mut cached = [base.cached(); 8];
        let mut last = *base;
        self.set(start, 1, base);
        for j in 2..=small {
            last = last.add(&cached[0]);
            cached[j - 1] = last.cached();
            self.set(start, j, &last);
        }
        // 2m + 1 times the base.
        let step = 2 * small + 1;
        let mut large =
            if small == 1 { base.double().add(&cached[0]) } else { last.double().add(&cached[0]) };
        let stride = large.cached();
        let mut at = step;
        let mut top = None;
        while at <= half + small {
            if at <= half {
                self.set(start, at, &large);
                if at == half {
                    top = Some(large);
                }
            }
            for (j, other) in (1..).zip(&cached[..small]) {
                if at - j > half {
                    continue;
                }
                let ([sum, difference], z) = large.add_and_sub(other);
                let place = self.z.len();
                self.z.push(z);
                self.points[start + at - j - 1] = (difference.0, difference.1, place);
                if at + j <= half {
                    self.points[start + at + j - 1] = (sum.0, sum.1, place);
                }
            }
            at += step;
            if at <= half + small {
                large = large.add(&stride);
            }
        }
        match top {
            Some(top) => top,
            None => {
                let (x, y, z) = self.points[start + half - 1];
                let z = self.z[z];
                // T = XY/Z: with X·Z, Y·Z, Z², X·Y instead nothing has to be inverted.
                Point { x: x.times(z), y: y.times(z), z: z.squared(), t: x.times(y) }
            }
        }
    }

    #[inline(always)]
    fn set(&mut self, start: usize, multiple: usize, point: &Point<F>) {
        let place = self.z.len();
        self.z.push(point.z);
        self.points[start + multiple - 1] = (point.x, point.y, place);
    }

    /// Divides by Z; one inversion for all.
    #[inline(always)]
    fn normalise(&mut self, entries: &mut [Affine<F>]) {
        batch_invert(&mut self.z, &mut self.products);
        for (entry, (x, y, z)) in entries.iter_mut().zip(&self.points) {
            let inverse = self.z[*z];
            *entry = Affine::new(x.times(inverse), y.times(inverse));
        }
    }
}

/// Replaces each by its inverse (Montgomery's trick). None may be 0; Z of a point never is.
#[inline(always)]
pub fn batch_invert<F: Field>(values: &mut [F], products: &mut Vec<F>) {
    let Some((first, rest)) = values.split_first() else { return };
    products.clear();
    products.push(*first);
    let mut product = *first;
    for value in rest {
        product = product.times(*value);
        products.push(product);
    }
    let mut inverse = invert(product);
    for at in (1..values.len()).rev() {
        let value = values[at];
        values[at] = inverse.times(products[at - 1]);
        inverse = inverse.times(value);
    }
    values[0] = inverse;
}
