/* The engine, convolutions and pooling. matmul.c has the matrix products; nothing else knows oneDNN. */
#include "engine/onednn.h"

#include "engine/winograd.h"

#include <omp.h>
#include <stdio.h>

/* What a convolution and a pooling share: a primitive and the memory objects it runs on. The user scratchpad makes
 * a primitive usable from any thread; oneDNN's own is tied to the thread that created the primitive. */
typedef struct Primitive {
    Engine *engine;
    dnnl_stream_t stream; /* the engine's or, of a part, its own */
    dnnl_primitive_t primitive;
    dnnl_memory_t src, dst, scratch, weight, bias;
    dnnl_memory_t scale; /* of int8 weights, in 3.x; 2.x has it in the primitive */
    size_t scratch_bytes;
    BlemishStage work; /* of one run, for the profile */
} Primitive;

struct Conv {
    Primitive p;
    Winograd *winograd; /* or NULL; then there is no primitive */
    size_t parts;
    Primitive *others;           /* of the parts after the first: with memory objects and a stream of their own */
    size_t src_bytes, dst_bytes; /* of a part */
};
struct Pool {
    Primitive p;
};

typedef struct ConvDescs {
    Desc src, weight, bias, dst;
} ConvDescs;

static dnnl_status_t conv_primitive_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t algorithm,
                                         const ConvDescs *d, bool bias, const dnnl_dims_t stride,
                                         const dnnl_dims_t padding, const_dnnl_primitive_attr_t attr) {
    const dnnl_dims_t dilation = {0, 0};
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_convolution_forward_primitive_desc_create(pd, engine, dnnl_forward_inference, algorithm, d->src,
                                                          d->weight, bias ? d->bias : NULL, d->dst, stride, dilation,
                                                          padding, padding, attr);
#else
    dnnl_convolution_desc_t op;
    dnnl_status_t s =
        dnnl_dilated_convolution_forward_desc_init(&op, dnnl_forward_inference, algorithm, &d->src, &d->weight,
                                                   bias ? &d->bias : NULL, &d->dst, stride, dilation, padding, padding);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &op, attr, engine, NULL) : s;
#endif
}

static dnnl_status_t pool_primitive_desc(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, const Desc *src,
                                         const Desc *dst, const_dnnl_primitive_attr_t attr) {
    const dnnl_dims_t kernel = {3, 3}, stride = {2, 2}, padding = {1, 1};
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t dilation = {0, 0};
    return dnnl_pooling_forward_primitive_desc_create(pd, engine, dnnl_forward_inference, dnnl_pooling_max, *src, *dst,
                                                      stride, kernel, dilation, padding, padding, attr);
#else
    dnnl_pooling_desc_t op;
    dnnl_status_t s = dnnl_pooling_forward_desc_init(&op, dnnl_forward_inference, dnnl_pooling_max, src, dst, stride,
                                                     kernel, padding, padding);
    return s == dnnl_success ? dnnl_primitive_desc_create(pd, &op, attr, engine, NULL) : s;
#endif
}

static dnnl_status_t append_relu(dnnl_post_ops_t ops) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f);
#else
    return dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
#endif
}

/* ---- engine ---------------------------------------------------------------------------------------------- */

BlemishStatus engine_open(Engine **out, int threads, Error *e) {
    *out = NULL;
    if (threads < 0 || threads > ENGINE_THREADS_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "threads: found %d, expected 0 to %d", threads, ENGINE_THREADS_MAX);
    Engine *engine = *out = array_new(1, sizeof *engine, e);
    if (engine == NULL) return e->status;
    engine->threads = threads > 0 ? threads : engine_threads_default();
    TRY_DNNL(dnnl_engine_create(&engine->engine, dnnl_cpu, 0));
    TRY_DNNL(dnnl_stream_create(&engine->stream, engine->engine, dnnl_stream_default_flags));
    return BLEMISH_OK;
done:
    engine_close(engine);
    *out = NULL;
    return e->status;
}

int engine_threads_default(void) {
    return cores_limit(omp_get_num_procs());
}

void engine_close(Engine *engine) {
    if (engine == NULL) return;
    products_close(engine);
    if (engine->stream) dnnl_stream_destroy(engine->stream);
    if (engine->engine) dnnl_engine_destroy(engine->engine);
    array_free(engine);
}

bool engine_has_bf16(void) {
    return dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core_bf16;
}

/* The level of another architecture is 0. */
bool engine_has_int8(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa(), avx2 = dnnl_cpu_isa_avx2_vnni,
                   avx512 = dnnl_cpu_isa_avx512_core_vnni;
    return isa == 0 || (isa & avx2) == avx2 || (isa & avx512) == avx512;
}

int engine_threads(const Engine *engine) {
    return engine->threads;
}

void engine_set_profile(Engine *engine, Profile *profile) {
    engine->profile = profile;
}

Profile *engine_profile(const Engine *engine) {
    return engine->profile;
}

void engine_lap(const Engine *engine, const char *stage) {
    profile_lap(engine->profile, stage);
}

int engine_enter(const Engine *engine) {
    int before = omp_get_max_threads();
    omp_set_num_threads(engine->threads);
    return before;
}

void engine_leave(int before) {
    omp_set_num_threads(before);
}

int engine_thread_index(void) {
    return omp_get_thread_num();
}

void engine_library_version(char text[32]) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, 32, "%d.%d.%d", v->major, v->minor, v->patch);
}

/* ---- primitives ------------------------------------------------------------------------------------------ */

static void memories_destroy(const dnnl_memory_t *memories, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
}

static void primitive_close(Primitive *p) {
    memories_destroy((dnnl_memory_t[]){p->src, p->dst, p->scratch, p->weight, p->bias, p->scale}, 6);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
}

/* Memory objects without buffers for what is named at run time. */
static BlemishStatus primitive_places(Primitive *p, const_dnnl_primitive_desc_t pd, Error *e) {
    dnnl_engine_t engine = p->engine->engine;
    ConstDesc scratch = query(pd, dnnl_query_scratchpad_md);
    p->scratch_bytes = desc_bytes(scratch);
    TRY_DNNL(dnnl_memory_create(&p->src, query(pd, dnnl_query_src_md), engine, DNNL_MEMORY_NONE));
    TRY_DNNL(dnnl_memory_create(&p->dst, query(pd, dnnl_query_dst_md), engine, DNNL_MEMORY_NONE));
    TRY_DNNL(dnnl_memory_create(&p->scratch, scratch, engine, DNNL_MEMORY_NONE));
    return BLEMISH_OK;
done:
    return e->status;
}

/* These and the primitive itself. */
static BlemishStatus primitive_finish(Primitive *p, const_dnnl_primitive_desc_t pd, Error *e) {
    p->stream = p->engine->stream;
    if (primitive_places(p, pd, e)) return e->status;
    TRY_DNNL(dnnl_primitive_create(&p->primitive, pd));
    return BLEMISH_OK;
done:
    return e->status;
}

static void work_done(const Primitive *p) {
    profile_work(p->engine->profile, p->work.gmac, p->work.gb, p->work.precision);
}

static BlemishStatus primitive_run(Primitive *p, const void *src, void *dst, void *scratch, Error *e) {
    /* oneDNN's handles are not const, but a source is only read. */
    TRY_DNNL(dnnl_memory_set_data_handle(p->src, (void *)(uintptr_t)src));
    TRY_DNNL(dnnl_memory_set_data_handle(p->dst, dst));
    TRY_DNNL(dnnl_memory_set_data_handle(p->scratch, p->scratch_bytes ? scratch : NULL));
    dnnl_exec_arg_t args[6] = {{DNNL_ARG_SRC, p->src}, {DNNL_ARG_DST, p->dst}, {DNNL_ARG_SCRATCHPAD, p->scratch}};
    int n = 3;
    if (p->weight) args[n++] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, p->weight};
    if (p->bias) args[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, p->bias};
#if DNNL_VERSION_MAJOR >= 3
    if (p->scale) args[n++] = (dnnl_exec_arg_t){DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, p->scale};
#endif
    TRY_DNNL(dnnl_primitive_execute(p->primitive, p->stream, n, args));
    TRY_DNNL(dnnl_stream_wait(p->stream));
    return BLEMISH_OK;
done:
    return e->status;
}

/* Copies `values`, described by `from`, into library-owned memory laid out as `to`. */
static BlemishStatus memory_packed(dnnl_memory_t *out, Engine *engine, ConstDesc from, ConstDesc to, const void *values,
                                   Error *e) {
    dnnl_memory_t plain = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    TRY_DNNL(dnnl_memory_create(&plain, from, engine->engine, (void *)(uintptr_t)values));
    TRY_DNNL(dnnl_memory_create(out, to, engine->engine, DNNL_MEMORY_ALLOCATE));
    TRY_DNNL(dnnl_reorder_primitive_desc_create(&pd, from, engine->engine, to, engine->engine, NULL));
    TRY_DNNL(dnnl_primitive_create(&reorder, pd));
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, *out}};
    TRY_DNNL(dnnl_primitive_execute(reorder, engine->stream, 2, args));
    TRY_DNNL(dnnl_stream_wait(engine->stream));
    e->status = BLEMISH_OK;
done:
    if (reorder) dnnl_primitive_destroy(reorder);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (plain) dnnl_memory_destroy(plain);
    return e->status;
}

static dnnl_data_type_t data_type(Element type) {
    static const dnnl_data_type_t types[] = {dnnl_f32, dnnl_bf16, dnnl_u8, dnnl_s8}; /* in the order of Element */
    return types[type];
}

size_t element_size(Element type) {
    static const size_t sizes[] = {4, 2, 1, 1};
    return sizes[type];
}

static bool is_int8(Element type) {
    return type == ELEMENT_U8 || type == ELEMENT_S8;
}

size_t conv_out_size(size_t in, size_t kernel, size_t stride, size_t padding) {
    return (in + 2 * padding - kernel) / stride + 1;
}

static BlemishPrecision precision_of(Element type) {
    return is_int8(type)          ? BLEMISH_PRECISION_INT8
           : type == ELEMENT_BF16 ? BLEMISH_PRECISION_BF16
                                  : BLEMISH_PRECISION_FP32;
}

/* What one run of a convolution costs, by the definition of a convolution and the weights as they are kept. */
static BlemishStage conv_work(const ConvShape *s, size_t weight_bytes) {
    const size_t pixels = s->batch * conv_out_size(s->height, s->kernel, s->stride, s->padding) *
                          conv_out_size(s->width, s->kernel, s->stride, s->padding);
    const size_t src = s->batch * s->height * s->width * s->in * element_size(s->from);
    const size_t dst = pixels * s->out * element_size(s->to);
    return (BlemishStage){
        .gmac = 1e-9 * (double)pixels * (double)(s->out * s->in * s->kernel * s->kernel),
        .gb = 1e-9 * (double)(src + weight_bytes + dst + (s->add ? dst : 0)),
        .precision = precision_of(s->from),
    };
}

/* A factor for each output channel, before the post-operations. */
static dnnl_status_t set_scales(dnnl_primitive_attr_t attr, size_t count, const float *scale) {
#if DNNL_VERSION_MAJOR >= 3
    (void)count, (void)scale; /* they are an argument of each run */
    return dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_WEIGHTS, 1);
#else
    return dnnl_primitive_attr_set_output_scales(attr, (dnnl_dim_t)count, 2, scale);
#endif
}

static dnnl_status_t conv_attributes(dnnl_primitive_attr_t *attr, const ConvShape *shape, const float *scale) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(attr);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success) s = dnnl_post_ops_create(&ops);
    if (s == dnnl_success && scale) s = set_scales(*attr, shape->out, scale);
    if (s == dnnl_success && shape->add)
        s = scale ? append_scaled_sum(ops, shape->add_scale, data_type(shape->added)) : append_sum(ops);
    if (s == dnnl_success && shape->relu) s = append_relu(ops);
    if (s == dnnl_success) s = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return s;
}

/* The parts after the first share its primitive and weights. */
static BlemishStatus open_parts(Conv *conv, const_dnnl_primitive_desc_t pd, Error *e) {
    conv->others = array_new(conv->parts - 1, sizeof *conv->others, e);
    if (conv->others == NULL) return e->status;
    conv->src_bytes = desc_bytes(query(pd, dnnl_query_src_md));
    conv->dst_bytes = desc_bytes(query(pd, dnnl_query_dst_md));
    conv->p.work.gmac *= (double)conv->parts;
    conv->p.work.gb *= (double)conv->parts;
    for (size_t i = 0; i + 1 < conv->parts; i++) {
        Primitive *p = &conv->others[i];
        *p = conv->p;
        p->src = p->dst = p->scratch = NULL;
        p->stream = NULL;
        TRY_DNNL(dnnl_stream_create(&p->stream, p->engine->engine, dnnl_stream_default_flags));
        if (primitive_places(p, pd, e)) return e->status;
    }
    return BLEMISH_OK;
done:
    return e->status;
}

static void close_parts(Conv *conv) {
    for (size_t i = 0; conv->others && i + 1 < conv->parts; i++) {
        Primitive *p = &conv->others[i];
        memories_destroy((dnnl_memory_t[]){p->src, p->dst, p->scratch}, 3);
        if (p->stream) dnnl_stream_destroy(p->stream);
    }
    array_free(conv->others);
}

/* weight is float, or int8 where there is a scale. */
static BlemishStatus conv_make(Conv **out, Engine *engine, const ConvShape *shape, const void *weight,
                               const float *scale, const float *bias, Error *e) {
    e->status = BLEMISH_OK;
    Conv *conv = array_new(1, sizeof *conv, e);
    *out = conv;
    if (conv == NULL) return e->status;
    conv->p.engine = engine;
    const int64_t n = (int64_t)shape->batch, ci = (int64_t)shape->in, co = (int64_t)shape->out;
    const int64_t k = (int64_t)shape->kernel, s = (int64_t)shape->stride, p = (int64_t)shape->padding;
    const dnnl_dims_t src = {n, ci, (int64_t)shape->height, (int64_t)shape->width};
    const dnnl_dims_t dst = {n, co, (int64_t)conv_out_size(shape->height, shape->kernel, shape->stride, shape->padding),
                             (int64_t)conv_out_size(shape->width, shape->kernel, shape->stride, shape->padding)};
    const dnnl_dims_t kernel = {co, ci, k, k}, stride = {s, s}, padding = {p, p}, outs = {co};
    ConvDescs d = {DESC_NONE, DESC_NONE, DESC_NONE, DESC_NONE};
    Desc plain = DESC_NONE;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    const int threads = omp_get_max_threads();
    conv->parts = shape->parts;
    if (conv->parts) omp_set_num_threads(1); /* a primitive runs right with no fewer threads than it was made for */
    const size_t tile = conv->parts ? 0 : winograd_tile(shape);
    if (tile) {
        conv->p.work = conv_work(shape, (tile + 2) * (tile + 2) * shape->in * shape->out * sizeof(float));
        winograd_open(&conv->winograd, shape, tile, weight, bias, engine->threads, e);
        goto done;
    }
    TRY_DNNL(desc_make(&d.src, 4, src, data_type(shape->from), dnnl_nhwc));
    TRY_DNNL(desc_make(&d.dst, 4, dst, data_type(shape->to), dnnl_nhwc));
    TRY_DNNL(desc_make(&d.weight, 4, kernel, scale ? dnnl_s8 : data_type(shape->from), dnnl_format_tag_any));
    TRY_DNNL(desc_make(&d.bias, 1, outs, dnnl_f32, dnnl_x));
    TRY_DNNL(desc_make(&plain, 4, kernel, scale ? dnnl_s8 : dnnl_f32, dnnl_oihw));
    TRY_DNNL(conv_attributes(&attr, shape, scale));
    TRY_DNNL(
        conv_primitive_desc(&pd, engine->engine, dnnl_convolution_direct, &d, bias != NULL, stride, padding, attr));
    if (memory_packed(&conv->p.weight, engine, desc_of(&plain), query(pd, dnnl_query_weights_md), weight, e)) goto done;
    if (bias && memory_packed(&conv->p.bias, engine, desc_of(&d.bias), desc_of(&d.bias), bias, e)) goto done;
#if DNNL_VERSION_MAJOR >= 3
    if (scale && memory_packed(&conv->p.scale, engine, desc_of(&d.bias), desc_of(&d.bias), scale, e)) goto done;
#endif
    conv->p.work = conv_work(shape, desc_bytes(query(pd, dnnl_query_weights_md)));
    if (primitive_finish(&conv->p, pd, e)) goto done;
    if (conv->parts > 1) open_parts(conv, pd, e);
done:
    omp_set_num_threads(threads);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    desc_free(&d.src), desc_free(&d.weight), desc_free(&d.bias), desc_free(&d.dst), desc_free(&plain);
    if (e->status != BLEMISH_OK) {
        conv_close(conv);
        *out = NULL;
    }
    return e->status;
}

BlemishStatus conv_open(Conv **out, Engine *engine, const ConvShape *shape, const float *weight, const float *bias,
                        Error *e) {
    return conv_make(out, engine, shape, weight, NULL, bias, e);
}

BlemishStatus conv_open_int8(Conv **out, Engine *engine, const ConvShape *shape, const int8_t *weight,
                             const float *scale, const float *bias, Error *e) {
    *out = NULL;
    if (!is_int8(shape->from))
        return error_set(e, BLEMISH_ERROR_INTERNAL, "convolution: found int8 weights for a source of floats");
#if DNNL_VERSION_MAJOR >= 3
    return conv_make(out, engine, shape, weight, scale, bias, e);
#else
    /* 2.x multiplies the bias, too. */
    float *divided = array_new(shape->out, sizeof *divided, e);
    if (divided == NULL) return e->status;
    for (size_t i = 0; i < shape->out; i++) divided[i] = bias ? bias[i] / scale[i] : 0.0f;
    conv_make(out, engine, shape, weight, scale, divided, e);
    array_free(divided);
    return e->status;
#endif
}

/* A multiple of a cache line. */
static size_t part_scratch(const Conv *conv) {
    return (conv->p.scratch_bytes + 63) / 64 * 64;
}

BlemishStatus conv_run_part(Conv *conv, size_t part, const void *src, void *dst, void *scratch, Error *e) {
    Primitive *p = part ? &conv->others[part - 1] : &conv->p;
    if (primitive_run(p, src, dst, (uint8_t *)scratch + part * part_scratch(conv), e)) return e->status;
    if (part == 0) work_done(p);
    return BLEMISH_OK;
}

static BlemishStatus run_parts(Conv *conv, const void *src, void *dst, void *scratch, Error *e) {
    e->status = BLEMISH_OK;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < conv->parts; i++) {
        Error mine = {0};
        if (conv_run_part(conv, i, (const uint8_t *)src + i * conv->src_bytes, (uint8_t *)dst + i * conv->dst_bytes,
                          scratch, &mine))
#pragma omp critical
            *e = mine;
    }
    return e->status;
}

BlemishStatus conv_run(Conv *conv, const void *src, void *dst, void *scratch, Error *e) {
    if (conv->winograd == NULL)
        return conv->parts ? run_parts(conv, src, dst, scratch, e) : conv_run_part(conv, 0, src, dst, scratch, e);
    winograd_run(conv->winograd, src, dst, scratch);
    work_done(&conv->p);
    return BLEMISH_OK;
}

size_t conv_scratch(const Conv *conv) {
    return conv->winograd ? winograd_scratch(conv->winograd) : (conv->parts ? conv->parts : 1) * part_scratch(conv);
}

void conv_close(Conv *conv) {
    if (conv == NULL) return;
    winograd_close(conv->winograd);
    close_parts(conv);
    primitive_close(&conv->p);
    array_free(conv);
}

BlemishStatus pool_open(Pool **out, Engine *engine, Element type, size_t batch, size_t height, size_t width,
                        size_t channels, Error *e) {
    e->status = BLEMISH_OK;
    Pool *pool = array_new(1, sizeof *pool, e);
    *out = pool;
    if (pool == NULL) return e->status;
    pool->p.engine = engine;
    const int64_t n = (int64_t)batch, c = (int64_t)channels;
    const dnnl_dims_t src = {n, c, (int64_t)height, (int64_t)width};
    const dnnl_dims_t dst = {n, c, (int64_t)conv_out_size(height, 3, 2, 1), (int64_t)conv_out_size(width, 3, 2, 1)};
    Desc from = DESC_NONE, to = DESC_NONE;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    TRY_DNNL(desc_make(&from, 4, src, data_type(type), dnnl_nhwc));
    TRY_DNNL(desc_make(&to, 4, dst, data_type(type), dnnl_nhwc));
    TRY_DNNL(dnnl_primitive_attr_create(&attr));
    TRY_DNNL(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    TRY_DNNL(pool_primitive_desc(&pd, engine->engine, &from, &to, attr));
    primitive_finish(&pool->p, pd, e);
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    desc_free(&from), desc_free(&to);
    if (e->status != BLEMISH_OK) {
        pool_close(pool);
        *out = NULL;
    }
    return e->status;
}

BlemishStatus pool_run(Pool *pool, const void *src, void *dst, void *scratch, Error *e) {
    if (primitive_run(&pool->p, src, dst, scratch, e)) return e->status;
    work_done(&pool->p);
    return BLEMISH_OK;
}

size_t pool_scratch(const Pool *pool) {
    return pool->p.scratch_bytes;
}

void pool_close(Pool *pool) {
    if (pool == NULL) return;
    primitive_close(&pool->p);
    array_free(pool);
}
