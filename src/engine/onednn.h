/* Private to onednn.c and matmul.c, the two files that know oneDNN - and that its C API changed between 2.x (Debian 12)
 * and 3.x (Debian 13). */
#ifndef BLEMISH_ONEDNN_H
#define BLEMISH_ONEDNN_H

#include "engine/engine.h"

#include <oneapi/dnnl/dnnl.h>

/* A matrix product of one shape. */
typedef struct Product {
    bool bf16, ta, tb, add;
    size_t m, n, k, lda, ldb, ldc;
    dnnl_primitive_t primitive; /* NULL: the slot is free */
    dnnl_memory_t a, b, c, scratch;
    size_t scratch_bytes;
} Product;
enum { PRODUCTS = 64 };

struct Engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int threads;
    Product products[PRODUCTS]; /* a ring: the oldest is replaced */
    size_t next_product;
    void *scratch; /* of the product that runs */
    size_t scratch_bytes;
    Profile *profile; /* NULL: off */
};

/* matmul.c: frees the engine's products. */
void products_close(Engine *engine);

static inline BlemishStatus dnnl_check(dnnl_status_t status, const char *what, Error *e) {
    if (status == dnnl_success) return BLEMISH_OK;
    BlemishStatus code = status == dnnl_out_of_memory   ? BLEMISH_ERROR_MEMORY
                         : status == dnnl_unimplemented ? BLEMISH_ERROR_UNSUPPORTED
                                                        : BLEMISH_ERROR_INTERNAL;
    return error_set(e, code, "oneDNN: %s failed with status %d", what, (int)status);
}

#define TRY_DNNL(call)                                                                                                 \
    do {                                                                                                               \
        if (dnnl_check((call), #call, e) != BLEMISH_OK) goto done;                                                     \
    } while (0)

/* ---- descriptors: a value in 2.x, a handle in 3.x -------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t Desc;
typedef const_dnnl_memory_desc_t ConstDesc;
static inline dnnl_status_t desc_make(Desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                                      dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(d, rank, dims, type, tag);
}
static inline dnnl_status_t desc_make_matrix(Desc *d, const dnnl_dims_t dims, dnnl_data_type_t type,
                                             const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides);
}
/* In the layout that a primitive likes best. */
static inline dnnl_status_t desc_make_any(Desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_create_with_tag(d, rank, dims, type, dnnl_format_tag_any);
}
static inline void desc_free(Desc *d) {
    if (*d) dnnl_memory_desc_destroy(*d);
}
static inline ConstDesc desc_of(const Desc *d) {
    return *d;
}
static inline size_t desc_bytes(ConstDesc d) {
    return dnnl_memory_desc_get_size(d);
}
static inline dnnl_data_type_t desc_type(ConstDesc d) {
    dnnl_data_type_t type = dnnl_data_type_undef;
    dnnl_memory_desc_query(d, dnnl_query_data_type, &type);
    return type;
}
#define DESC_NONE NULL
#else
typedef dnnl_memory_desc_t Desc;
typedef const dnnl_memory_desc_t *ConstDesc;
static inline dnnl_status_t desc_make(Desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                                      dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(d, rank, dims, type, tag);
}
static inline dnnl_status_t desc_make_matrix(Desc *d, const dnnl_dims_t dims, dnnl_data_type_t type,
                                             const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides);
}
static inline dnnl_status_t desc_make_any(Desc *d, int rank, const dnnl_dims_t dims, dnnl_data_type_t type) {
    return dnnl_memory_desc_init_by_tag(d, rank, dims, type, dnnl_format_tag_any);
}
static inline void desc_free(Desc *d) {
    (void)d;
}
static inline ConstDesc desc_of(const Desc *d) {
    return d;
}
static inline size_t desc_bytes(ConstDesc d) {
    return dnnl_memory_desc_get_size(d);
}
static inline dnnl_data_type_t desc_type(ConstDesc d) {
    return d->data_type;
}
#define DESC_NONE                                                                                                      \
    { 0 }
#endif

/* matmul.c: C = A B. */
dnnl_status_t product_primitive_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const Desc *a, const Desc *b,
                                     const Desc *c, const_dnnl_primitive_attr_t attr);

static inline ConstDesc query(const_dnnl_primitive_desc_t pd, dnnl_query_t what) {
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

static inline BlemishPrecision desc_precision(ConstDesc d) {
    return desc_type(d) == dnnl_bf16 ? BLEMISH_PRECISION_BF16 : BLEMISH_PRECISION_FP32;
}

/* type undef: the destination's. */
static inline dnnl_status_t append_scaled_sum(dnnl_post_ops_t ops, float scale, dnnl_data_type_t type) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(ops, scale, 0, type);
#else
    return dnnl_post_ops_append_sum_v2(ops, scale, type);
#endif
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return append_scaled_sum(ops, 1.0f, dnnl_data_type_undef);
}

#endif
