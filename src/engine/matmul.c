/* Matrix products as oneDNN's matmul primitives, kept by shape. */
#include "engine/onednn.h"

#include <string.h>

dnnl_status_t product_primitive_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const Desc *a, const Desc *b,
                                     const Desc *c, const_dnnl_primitive_attr_t attr) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, NULL, *c, attr);
#else
    dnnl_matmul_desc_t op;
    dnnl_status_t s = dnnl_matmul_desc_init(&op, a, b, NULL, c);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &op, attr, engine, NULL) : s;
#endif
}

static void product_close(Product *p) {
    dnnl_memory_t memories[] = {p->a, p->b, p->c, p->scratch};
    for (size_t i = 0; i < 4; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    *p = (Product){0};
}

void products_close(Engine *engine) {
    for (size_t i = 0; i < PRODUCTS; i++) product_close(&engine->products[i]);
    array_free(engine->scratch);
}

/* Rows and columns of the product's view; stored row-major, or column-major where transposed. */
static dnnl_status_t desc_make_operand(Desc *d, size_t rows, size_t columns, size_t stride, bool transposed,
                                       dnnl_data_type_t type) {
    const dnnl_dims_t dims = {(int64_t)rows, (int64_t)columns};
    const dnnl_dims_t strides = {transposed ? 1 : (int64_t)stride, transposed ? (int64_t)stride : 1};
    return desc_make_matrix(d, dims, type, strides);
}

static BlemishStatus product_open(Product *p, dnnl_engine_t engine, Error *e) {
    Desc a = DESC_NONE, b = DESC_NONE, c = DESC_NONE;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t pd = NULL;
    e->status = BLEMISH_OK;
    const dnnl_data_type_t type = p->bf16 ? dnnl_bf16 : dnnl_f32;
    TRY_DNNL(desc_make_operand(&a, p->m, p->k, p->lda, p->ta, type));
    TRY_DNNL(desc_make_operand(&b, p->k, p->n, p->ldb, p->tb, type));
    TRY_DNNL(desc_make_operand(&c, p->m, p->n, p->ldc, false, dnnl_f32));
    TRY_DNNL(dnnl_primitive_attr_create(&attr));
    TRY_DNNL(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    TRY_DNNL(dnnl_post_ops_create(&ops));
    if (p->add) TRY_DNNL(append_sum(ops));
    TRY_DNNL(dnnl_primitive_attr_set_post_ops(attr, ops));
    TRY_DNNL(product_primitive_desc(&pd, engine, &a, &b, &c, attr));
    TRY_DNNL(dnnl_memory_create(&p->a, query(pd, dnnl_query_src_md), engine, DNNL_MEMORY_NONE));
    TRY_DNNL(dnnl_memory_create(&p->b, query(pd, dnnl_query_weights_md), engine, DNNL_MEMORY_NONE));
    TRY_DNNL(dnnl_memory_create(&p->c, query(pd, dnnl_query_dst_md), engine, DNNL_MEMORY_NONE));
    p->scratch_bytes = desc_bytes(query(pd, dnnl_query_scratchpad_md));
    TRY_DNNL(dnnl_memory_create(&p->scratch, query(pd, dnnl_query_scratchpad_md), engine, DNNL_MEMORY_NONE));
    TRY_DNNL(dnnl_primitive_create(&p->primitive, pd));
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (ops) dnnl_post_ops_destroy(ops);
    if (attr) dnnl_primitive_attr_destroy(attr);
    desc_free(&a), desc_free(&b), desc_free(&c);
    if (e->status != BLEMISH_OK) product_close(p);
    return e->status;
}

static bool same_product(const Product *x, const Product *y) {
    return x->bf16 == y->bf16 && x->ta == y->ta && x->tb == y->tb && x->add == y->add && x->m == y->m && x->n == y->n &&
           x->k == y->k && x->lda == y->lda && x->ldb == y->ldb && x->ldc == y->ldc;
}

/* The primitive of this shape, made where it is not at hand; NULL on failure. */
static Product *product_find(Engine *engine, const Product *wanted, Error *e) {
    for (size_t i = 0; i < PRODUCTS; i++)
        if (engine->products[i].primitive && same_product(&engine->products[i], wanted)) return &engine->products[i];
    Product *p = &engine->products[engine->next_product];
    engine->next_product = (engine->next_product + 1) % PRODUCTS;
    product_close(p);
    *p = *wanted;
    return product_open(p, engine->engine, e) == BLEMISH_OK ? p : NULL;
}

static BlemishStatus reserve_scratch(Engine *engine, size_t bytes, Error *e) {
    if (bytes <= engine->scratch_bytes) return BLEMISH_OK;
    array_free(engine->scratch);
    engine->scratch_bytes = 0;
    engine->scratch = array_new(bytes, 1, e);
    if (engine->scratch == NULL) return e->status;
    engine->scratch_bytes = bytes;
    return BLEMISH_OK;
}

/* Bytes read and written, in 1e9. */
static double product_gb(const Product *p) {
    const size_t operands = (p->m * p->k + p->k * p->n) * (p->bf16 ? sizeof(uint16_t) : sizeof(float));
    return 1e-9 * (double)(operands + (p->add ? 2 : 1) * p->m * p->n * sizeof(float));
}

static BlemishStatus product_run(Engine *engine, const Product *wanted, const void *a, const void *b, float *c,
                                 Error *e) {
    if (wanted->m == 0 || wanted->n == 0) return BLEMISH_OK;
    if (wanted->k == 0) { /* oneDNN would leave C alone even where nothing is to be added to it */
        for (size_t i = 0; i < wanted->m && !wanted->add; i++) memset(c + i * wanted->ldc, 0, wanted->n * sizeof *c);
        return BLEMISH_OK;
    }
    Product *p = product_find(engine, wanted, e);
    if (p == NULL || reserve_scratch(engine, p->scratch_bytes, e)) return e->status;
    TRY_DNNL(dnnl_memory_set_data_handle(p->a, (void *)(uintptr_t)a));
    TRY_DNNL(dnnl_memory_set_data_handle(p->b, (void *)(uintptr_t)b));
    TRY_DNNL(dnnl_memory_set_data_handle(p->c, c));
    TRY_DNNL(dnnl_memory_set_data_handle(p->scratch, p->scratch_bytes ? engine->scratch : NULL));
    const dnnl_exec_arg_t args[4] = {
        {DNNL_ARG_SRC, p->a}, {DNNL_ARG_WEIGHTS, p->b}, {DNNL_ARG_DST, p->c}, {DNNL_ARG_SCRATCHPAD, p->scratch}};
    TRY_DNNL(dnnl_primitive_execute(p->primitive, engine->stream, 4, args));
    TRY_DNNL(dnnl_stream_wait(engine->stream));
    profile_work(engine->profile, 1e-9 * (double)p->m * (double)p->n * (double)p->k, product_gb(p),
                 p->bf16 ? BLEMISH_PRECISION_BF16 : BLEMISH_PRECISION_FP32);
    return BLEMISH_OK;
done:
    return e->status;
}

BlemishStatus gemm(Engine *engine, bool ta, bool tb, size_t m, size_t n, size_t k, const float *a, size_t lda,
                   const float *b, size_t ldb, bool add, float *c, size_t ldc, Error *e) {
    const Product wanted = {.ta = ta, .tb = tb, .add = add, .m = m, .n = n, .k = k, .lda = lda, .ldb = ldb, .ldc = ldc};
    return product_run(engine, &wanted, a, b, c, e);
}

BlemishStatus gemm_bf16(Engine *engine, bool ta, bool tb, size_t m, size_t n, size_t k, const uint16_t *a, size_t lda,
                        const uint16_t *b, size_t ldb, bool add, float *c, size_t ldc, Error *e) {
    const Product wanted = {
        .bf16 = true, .ta = ta, .tb = tb, .add = add, .m = m, .n = n, .k = k, .lda = lda, .ldb = ldb, .ldc = ldc};
    return product_run(engine, &wanted, a, b, c, e);
}
