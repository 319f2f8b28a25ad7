/* What the machine can do at most: oneDNN's best matrix product in each precision, and a copy that no cache holds. */
#include "engine/onednn.h"

#include <math.h>
#include <string.h>

enum { SIDE = 1536, COPY_BYTES = 128 << 20 };
#define SECONDS 0.25 /* of turns, and three at least: a peak is the best that was seen */

typedef struct PeakProduct {
    dnnl_primitive_t primitive;
    dnnl_memory_t a, b, c;
} PeakProduct;

static void product_close(PeakProduct *p) {
    dnnl_memory_t memories[] = {p->a, p->b, p->c};
    for (size_t i = 0; i < 3; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
}

/* Memory that is mapped and holds numbers of ordinary size: 0x3f is the first byte of 0.7 in fp32 and in bf16. */
static dnnl_status_t memory_filled(dnnl_memory_t *out, ConstDesc desc, dnnl_engine_t engine) {
    void *bytes = NULL;
    dnnl_status_t s = dnnl_memory_create(out, desc, engine, DNNL_MEMORY_ALLOCATE);
    if (s == dnnl_success) s = dnnl_memory_get_data_handle(*out, &bytes);
    if (s == dnnl_success) memset(bytes, 0x3f, desc_bytes(desc));
    return s;
}

/* UNSUPPORTED where oneDNN has no such product. */
static BlemishStatus product_open(PeakProduct *p, dnnl_engine_t engine, dnnl_data_type_t a_type,
                                  dnnl_data_type_t b_type, dnnl_data_type_t c_type, Error *e) {
    const dnnl_dims_t dims = {SIDE, SIDE}, strides = {SIDE, 1};
    Desc a = DESC_NONE, b = DESC_NONE, c = DESC_NONE;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    e->status = BLEMISH_OK;
    TRY_DNNL(desc_make_matrix(&a, dims, a_type, strides));
    TRY_DNNL(desc_make_any(&b, 2, dims, b_type));
    TRY_DNNL(desc_make_matrix(&c, dims, c_type, strides));
    TRY_DNNL(dnnl_primitive_attr_create(&attr));
    TRY_DNNL(product_primitive_desc(&pd, engine, &a, &b, &c, attr));
    TRY_DNNL(memory_filled(&p->a, query(pd, dnnl_query_src_md), engine));
    TRY_DNNL(memory_filled(&p->b, query(pd, dnnl_query_weights_md), engine));
    TRY_DNNL(memory_filled(&p->c, query(pd, dnnl_query_dst_md), engine));
    TRY_DNNL(dnnl_primitive_create(&p->primitive, pd));
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    desc_free(&a), desc_free(&b), desc_free(&c);
    return e->status;
}

/* 1e9 multiply-adds a second, the best of a few turns; 0 where the processor has no such product. */
static BlemishStatus product_rate(const Engine *engine, dnnl_data_type_t a, dnnl_data_type_t b, dnnl_data_type_t c,
                                  double *rate, Error *e) {
    PeakProduct p = {0};
    double best = INFINITY, spent = 0;
    *rate = 0;
    BlemishStatus status = product_open(&p, engine->engine, a, b, c, e);
    if (status == BLEMISH_ERROR_UNSUPPORTED) e->status = BLEMISH_OK;
    for (int i = 0; status == BLEMISH_OK && (i <= 3 || spent < SECONDS); i++) { /* the first is not timed */
        const dnnl_exec_arg_t args[3] = {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.c}};
        const double start = now_seconds();
        TRY_DNNL(dnnl_primitive_execute(p.primitive, engine->stream, 3, args));
        TRY_DNNL(dnnl_stream_wait(engine->stream));
        const double seconds = now_seconds() - start;
        if (i > 0) best = fmin(best, seconds);
        spent += seconds;
    }
    if (status == BLEMISH_OK) *rate = 1e-9 * SIDE * SIDE * SIDE / best;
done:
    product_close(&p);
    return e->status;
}

/* 1e9 bytes a second, read and written. */
static BlemishStatus copy_rate(double *rate, Error *e) {
    enum { SLICE = 1 << 20 };
    double best = INFINITY, spent = 0;
    char *from = array_new(COPY_BYTES, 1, e), *to = array_new(COPY_BYTES, 1, e);
    for (int i = 0; from && to && (i <= 3 || spent < SECONDS); i++) {
        const double start = now_seconds();
#pragma omp parallel for schedule(static)
        for (size_t at = 0; at < COPY_BYTES; at += SLICE) memcpy(to + at, from + at, SLICE);
        const double seconds = now_seconds() - start;
        if (i > 0) best = fmin(best, seconds);
        spent += seconds;
    }
    *rate = 1e-9 * 2 * COPY_BYTES / best;
    const BlemishStatus status = from && to ? BLEMISH_OK : e->status;
    array_free(from), array_free(to);
    return status;
}

BlemishStatus peak_measure(int threads, BlemishPeak *peak, Error *e) {
    Engine *engine;
    *peak = (BlemishPeak){0};
    if (engine_open(&engine, threads, e)) return e->status;
    peak->threads = engine->threads;
    const int before = engine_enter(engine);
    double *rates = peak->gmac_per_second;
    BlemishStatus status = product_rate(engine, dnnl_f32, dnnl_f32, dnnl_f32, &rates[BLEMISH_PRECISION_FP32], e);
    if (status == BLEMISH_OK && engine_has_bf16())
        status = product_rate(engine, dnnl_bf16, dnnl_bf16, dnnl_f32, &rates[BLEMISH_PRECISION_BF16], e);
    if (status == BLEMISH_OK)
        status = product_rate(engine, dnnl_u8, dnnl_s8, dnnl_s32, &rates[BLEMISH_PRECISION_INT8], e);
    if (status == BLEMISH_OK) status = copy_rate(&peak->gb_per_second, e);
    engine_leave(before);
    engine_close(engine);
    return status;
}
