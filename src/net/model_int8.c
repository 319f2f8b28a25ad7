/* The tensors of a quantised model: int8 weights and a scale for each row, the heads with the adaptor multiplied in. */
#include "net/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The two heads' weights, by the features they are multiplied with. */
enum { SEG2, SEG3, CLS2, CLS3, MIXES };
static const char *const mix_names[MIXES] = {"heads.seg.mix2", "heads.seg.mix3", "heads.cls.mix2", "heads.cls.mix3"};

static float *mix_at(const HeadParams *p, size_t c2, int mix, size_t shape[2]) {
    const bool upper = mix == SEG3 || mix == CLS3, cls = mix >= CLS2;
    shape[0] = cls ? (size_t)CLS_TAPS * CLS_CHANNELS : p->hidden;
    shape[1] = upper ? p->c - c2 : c2;
    return (cls ? p->cls_weight : p->seg_weight) + (upper ? c2 : 0);
}

/* adaptor.weight, adaptor.bias, seg.conv.weight and cls.conv.weight: what the mixes and the map's taps are instead. */
static bool is_mixed(size_t index) {
    return index < 3 || index == 9;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

/* "NAME SUFFIX" and "NAME.scale" of rows of `per` at `stride`. */
static BlemishStatus list_rows(Listing *l, const char *name, const char *suffix, size_t rank, const size_t *shape,
                               const float *weight, size_t stride, Error *e) {
    size_t per = 1;
    for (size_t i = 1; i < rank; i++) per *= shape[i];
    int8_t *rounded = l->owned[l->count] = array_new(shape[0] * per, 1, e);
    if (rounded == NULL) return e->status;
    snprintf(l->names[l->count], sizeof l->names[0], "%s%s", name, suffix);
    list_tensor(l, TENSOR_I8, rank, shape, rounded);
    float *scale = l->owned[l->count] = array_new(shape[0], sizeof *scale, e);
    if (scale == NULL) return e->status;
    snprintf(l->names[l->count], sizeof l->names[0], "%s.scale", name);
    list_tensor(l, TENSOR_F32, 1, shape, scale);
    quantise_rows(weight, shape[0], per, stride, rounded, scale);
    return BLEMISH_OK;
}

/* The first convolution's weights stay floats: stem.c. */
static BlemishStatus list_conv(Listing *l, const Trunk *trunk, const TrunkConv *c, Error *e) {
    const size_t shape[4] = {c->out, c->in, c->kernel, c->kernel}, one = 1;
    char name[64];
    snprintf(name, sizeof name, "backbone.%s", c->name);
    float *owned;
    const float *weight = trunk_weight(trunk, c, &owned, e);
    if (weight == NULL) return e->status;
    if (c == trunk->convs) {
        l->owned[l->count] = owned;
        snprintf(l->names[l->count], sizeof l->names[0], "%s.weight", name);
        list_tensor(l, TENSOR_F32, 4, shape, weight);
    } else {
        const BlemishStatus status = list_rows(l, name, ".weight", 4, shape, weight, c->in * c->kernel * c->kernel, e);
        array_free(owned);
        if (status) return status;
    }
    snprintf(l->names[l->count], sizeof l->names[0], "%s.bias", name);
    list_tensor(l, TENSOR_F32, 1, &c->out, c->bias);
    snprintf(l->names[l->count], sizeof l->names[0], "%s.step", name);
    list_tensor(l, TENSOR_F32, 1, &one, &c->step);
    return BLEMISH_OK;
}

BlemishStatus list_quantised(Listing *l, const Model *model, Error *e) {
    const HeadParams *p = &model->heads.params;
    for (size_t i = 0; i < model->trunk.count; i++)
        if (list_conv(l, &model->trunk, &model->trunk.convs[i], e)) return e->status;
    for (size_t i = 0; i < HEAD_TENSORS; i++)
        if (!is_mixed(i) && list_head(l, &model->heads, i, e)) return e->status;
    for (int mix = 0; mix < MIXES; mix++) {
        size_t shape[2];
        const float *weight = mix_at(p, model->trunk.c2, mix, shape);
        if (list_rows(l, mix_names[mix], "", 2, shape, weight, p->c, e)) return e->status;
    }
    const size_t map[2] = {CLS_TAPS, CLS_CHANNELS};
    snprintf(l->names[l->count], sizeof l->names[0], "heads.cls.map");
    list_tensor(l, TENSOR_F32, 2, map, p->cls_map);
    return BLEMISH_OK;
}

/* ---- reading --------------------------------------------------------------------------------------------- */

/* Fetches finite floats; malloc-free: the caller's array. */
static BlemishStatus fetch(const TensorFile *file, const char *name, size_t rank, const size_t *shape, float *out,
                           Error *e) {
    const Tensor *t;
    if (tensor_file_get(file, name, rank, shape, &t, e)) return e->status;
    if (tensor_file_floats(file, t, out, e)) return e->status;
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(out[i]))
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found a value that is not finite at %zu", file->path,
                             name, i);
    return BLEMISH_OK;
}

static BlemishStatus load_mix(const HeadParams *p, size_t c2, int mix, const TensorFile *file, Error *e) {
    size_t shape[2];
    char name[80];
    float *weight = mix_at(p, c2, mix, shape);
    float *rows = array_new(shape[0] * shape[1], sizeof *rows, e), *scale = array_new(shape[0], sizeof *scale, e);
    snprintf(name, sizeof name, "%s.scale", mix_names[mix]);
    if (rows && scale && fetch(file, mix_names[mix], 2, shape, rows, e) == BLEMISH_OK &&
        fetch(file, name, 1, shape, scale, e) == BLEMISH_OK)
        scale_rows(rows, scale, shape[0], shape[1], p->c, weight, file->path, name, e);
    array_free(rows);
    array_free(scale);
    return e->status;
}

BlemishStatus heads_load_quantised(Heads *heads, const Trunk *trunk, const TensorFile *file, Error *e) {
    const HeadParams *p = &heads->params;
    const size_t map[2] = {CLS_TAPS, CLS_CHANNELS};
    for (size_t i = 0; i < HEAD_TENSORS; i++)
        if (!is_mixed(i) && heads_load_tensor(heads, i, file, e)) return e->status;
    for (int mix = 0; mix < MIXES; mix++)
        if (load_mix(p, trunk->c2, mix, file, e)) return e->status;
    heads_adaptor_identity(heads);
    heads_take_steps(heads, trunk);
    return fetch(file, "heads.cls.map", 2, map, p->cls_map, e);
}
