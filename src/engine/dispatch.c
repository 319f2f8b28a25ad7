#include "engine/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_v3, kernels_v4;
#endif

#if defined(__x86_64__)
/* MOVBE, F16C and LZCNT, which __builtin_cpu_supports does not know by these names in every compiler. */
static int has_scalar_v3(void) {
    unsigned a, b, c, d, extended_c = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (!__get_cpuid(0x80000001u, &a, &b, &extended_c, &d)) return 0;
    return (c & bit_MOVBE) && (c & bit_F16C) && (extended_c & bit_LZCNT);
}
#endif

const Kernels *kernels_at(size_t index) {
    if (index == 0) return &kernels_base;
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* All that -march lets the compiler use; a virtual machine may hide any part of it. */
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
             __builtin_cpu_supports("bmi2") && has_scalar_v3();
    int v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512cd");
    if (index == 1 && v3) return &kernels_v3;
    if (index == 2 && v4) return &kernels_v4;
#endif
    return NULL;
}

const Kernels *kernels(void) {
    const Kernels *best = kernels_at(0);
    for (size_t i = 1; kernels_at(i); i++) best = kernels_at(i);
    return best;
}
