//! Products of few scalars with a point: a table of all windows would cost more than it saves. 1 to 2^(w−1) times the point, and
//! doublings in between.

use crate::digits::Plan;
use crate::field::Field;
use crate::point::{Cached, Point, Sum};

/// Multiples of `LANES` points side by side; public, as the points are.
pub struct Ladder<F> {
    window: usize,
    multiples: Vec<Cached<F>>,
}

impl<F: Field> Ladder<F> {
    /// Space for multiples.
    pub fn new(plan: Plan) -> Self {
        Self { window: plan.window, multiples: Vec::with_capacity(1 << (plan.window - 1)) }
    }

    /// Computes the multiples of a point.
    #[inline(always)]
    pub fn fill(&mut self, point: &Point<F>) {
        let one = point.cached();
        self.multiples.clear();
        self.multiples.push(one);
        let mut last = *point;
        for _ in 1..1 << (self.window - 1) {
            last = last.add(&one);
            self.multiples.push(last.cached());
        }
    }

    /// X, Y and Z of the product with a scalar, given by its digits. What is read depends on them.
    #[inline(always)]
    pub fn product(&self, digits: &[i16]) -> [F; 3] {
        let mut sum = Sum::zero();
        for (row, digit) in digits.iter().enumerate().rev() {
            if row + 1 < digits.len() {
                sum = sum.doubled(self.window);
            }
            if *digit != 0 {
                let multiple = &self.multiples[usize::from(digit.unsigned_abs()) - 1];
                sum = sum.add_cached::<false>(multiple, *digit < 0);
            }
        }
        sum.coordinates()
    }

    /// The same without an access or a branch that depends on the digits.
    #[inline(always)]
    pub fn product_in_constant_time(&self, digits: &[i16]) -> [F; 3] {
        let mut sum = Sum::zero();
        for (row, digit) in digits.iter().enumerate().rev() {
            if row + 1 < digits.len() {
                sum = sum.doubled(self.window);
            }
            let mut wanted = Cached::identity();
            for (number, multiple) in (1u16..).zip(&self.multiples) {
                wanted.become_if(multiple, number == digit.unsigned_abs());
            }
            sum = sum.add_cached::<true>(&wanted, *digit < 0);
        }
        sum.coordinates()
    }
}
