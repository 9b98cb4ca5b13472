//! What processors have. The only `unsafe` of the crate is here: calls of instructions, below functions that are entered only
//! where the processor has them.
#![expect(unsafe_code, reason = "the instructions of AVX2 and AVX-512 IFMA")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod ifma;
pub mod portable;
mod words;

use crate::Task;

#[cfg(target_arch = "x86_64")]
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("adx")
}

#[cfg(target_arch = "x86_64")]
pub fn has_ifma() -> bool {
    has_avx2() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")
}

#[cfg(not(target_arch = "x86_64"))]
pub fn has_avx2() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
pub fn has_ifma() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
pub fn with_avx2(task: impl Task) {
    #[target_feature(enable = "avx2,bmi2,adx")]
    fn enabled(task: impl Task) {
        task.run::<portable::Limbs, avx2::Words4>();
    }
    if has_avx2() {
        // SAFETY: the processor has the features.
        unsafe { enabled(task) }
    } else {
        task.run::<portable::Limbs, u64>();
    }
}

#[cfg(target_arch = "x86_64")]
pub fn with_ifma(task: impl Task) {
    #[target_feature(enable = "avx512f,avx512ifma,avx2,bmi2,adx")]
    fn enabled(task: impl Task) {
        task.run::<ifma::Limbs8, ifma::Words8>();
    }
    if has_ifma() {
        // SAFETY: the processor has the features.
        unsafe { enabled(task) }
    } else {
        task.run::<portable::Limbs, u64>();
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn with_avx2(task: impl Task) {
    task.run::<portable::Limbs, u64>();
}

#[cfg(not(target_arch = "x86_64"))]
pub fn with_ifma(task: impl Task) {
    task.run::<portable::Limbs, u64>();
}
