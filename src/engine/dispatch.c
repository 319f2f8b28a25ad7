#include "engine/kernels.h"

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_v3, kernels_v4;
#endif

const Kernels *kernels_at(size_t index) {
    if (index == 0) return &kernels_base;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
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
