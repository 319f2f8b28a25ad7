#include "net/head_train.h"

BlemishStatus operand_open(Operand *o, size_t count, bool bf16, Error *e) {
    *o = (Operand){.values = array_new(count, sizeof *o->values, e)};
    if (bf16) o->rounded = array_new(count, sizeof *o->rounded, e);
    return count && (o->values == NULL || (bf16 && o->rounded == NULL)) ? e->status : BLEMISH_OK;
}

void operand_close(Operand *o) {
    array_free(o->values);
    array_free(o->rounded);
    *o = (Operand){0};
}

void operand_round(const Operand *o, size_t count) {
    enum { SLICE = 1 << 14 };
    if (o->rounded == NULL) return;
    const Kernels *k = kernels();
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += SLICE)
        k->to_bf16(o->values + i, count - i < SLICE ? count - i : SLICE, o->rounded + i);
}

Operand operand_at(const Operand *o, size_t offset) {
    return (Operand){o->values + offset, o->rounded ? o->rounded + offset : NULL};
}

Operand operand_param(const HeadTrainer *t, const float *weight) {
    return operand_at(&t->params, (size_t)(weight - t->params.values));
}

BlemishStatus product(const HeadTrainer *t, bool ta, bool tb, size_t m, size_t n, size_t k, Operand a, size_t lda,
                      Operand b, size_t ldb, bool add, float *c, size_t ldc, Error *e) {
    if (a.rounded && b.rounded)
        return gemm_bf16(t->engine, ta, tb, m, n, k, a.rounded, lda, b.rounded, ldb, add, c, ldc, e);
    return gemm(t->engine, ta, tb, m, n, k, a.values, lda, b.values, ldb, add, c, ldc, e);
}
