/* Parameters of both heads: where they lie, their names in files, their first values. */
#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

BlemishStatus head_params_open(HeadParams *p, size_t c, size_t hidden, Error *e) {
    const size_t cls = (size_t)CLS_TAPS * CLS_CHANNELS;
    const size_t sizes[] = {c * c,   c,   hidden * c,   hidden,       hidden,       hidden,       hidden,
                            cls * c, cls, CLS_CHANNELS, CLS_CHANNELS, CLS_CHANNELS, CLS_FEATURES, 1};
    float **const slots[] = {&p->adaptor_weight, &p->adaptor_bias, &p->seg_weight, &p->seg_bias, &p->seg_gamma,
                             &p->seg_beta,       &p->seg_out,      &p->cls_weight, &p->cls_map,  &p->cls_bias,
                             &p->cls_gamma,      &p->cls_beta,     &p->fc_weight,  &p->fc_bias};
    enum { PARTS = sizeof sizes / sizeof *sizes };
    *p = (HeadParams){.c = c, .hidden = hidden, .adaptor_count = c * c + c};
    for (size_t i = 0; i < PARTS; i++) p->total += sizes[i];
    p->all = array_new(p->total, sizeof(float), e);
    if (p->all == NULL) return e->status;
    float *at = p->all;
    for (size_t i = 0; i < PARTS; at += sizes[i++]) *slots[i] = at;
    return BLEMISH_OK;
}

void head_params_close(HeadParams *p) {
    array_free(p->all);
    *p = (HeadParams){0};
}

BlemishStatus heads_open(Heads *heads, size_t c, size_t hidden, Error *e) {
    *heads = (Heads){.feature_scale = 1.0f};
    if (c == 0 || c % LIFT_BLOCK || hidden == 0 || hidden % LIFT_BLOCK)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "heads: found %zu features and %zu hidden, expected multiples of %d", c, hidden, LIFT_BLOCK);
    float **const stats[] = {&heads->stats.seg_mean, &heads->stats.seg_var, &heads->stats.cls_mean,
                             &heads->stats.cls_var};
    BlemishStatus status = head_params_open(&heads->params, c, hidden, e);
    for (size_t i = 0; i < 4 && status == BLEMISH_OK; i++) {
        *stats[i] = array_new(i < 2 ? hidden : CLS_CHANNELS, sizeof(float), e);
        if (*stats[i] == NULL) status = e->status;
    }
    if (status != BLEMISH_OK) heads_close(heads);
    return status;
}

void heads_close(Heads *heads) {
    head_params_close(&heads->params);
    array_free(heads->stats.seg_mean);
    array_free(heads->stats.seg_var);
    array_free(heads->stats.cls_mean);
    array_free(heads->stats.cls_var);
    *heads = (Heads){0};
}

/* ---- the reference's tensors ----------------------------------------------------------------------------- */

/* In the order of the reference's state_dict, so that files list them as PyTorch does. */
enum {
    ADAPTOR_W,
    ADAPTOR_B,
    SEG_W,
    SEG_B,
    SEG_GAMMA,
    SEG_BETA,
    SEG_MEAN,
    SEG_VAR,
    SEG_OUT,
    CLS_W,
    CLS_B,
    CLS_GAMMA,
    CLS_BETA,
    CLS_MEAN,
    CLS_VAR,
    FC_W,
    FC_B
};

void heads_tensor(const Heads *heads, size_t index, TrunkTensor *out) {
    static const char *const names[HEAD_TENSORS] = {
        "adaptor.weight", "adaptor.bias",        "seg.conv.weight",    "seg.conv.bias",       "seg.bn.weight",
        "seg.bn.bias",    "seg.bn.running_mean", "seg.bn.running_var", "seg.out.weight",      "cls.conv.weight",
        "cls.conv.bias",  "cls.bn.weight",       "cls.bn.bias",        "cls.bn.running_mean", "cls.bn.running_var",
        "cls.fc.weight",  "cls.fc.bias"};
    const size_t c = heads->params.c, hidden = heads->params.hidden;
    *out = (TrunkTensor){.rank = 1, .shape = {index < CLS_W ? hidden : CLS_CHANNELS}};
    switch (index) {
    case ADAPTOR_W:
        *out = (TrunkTensor){.rank = 4, .shape = {c, c, 1, 1}};
        break;
    case ADAPTOR_B:
        out->shape[0] = c;
        break;
    case SEG_W:
        *out = (TrunkTensor){.rank = 4, .shape = {hidden, c, 1, 1}};
        break;
    case SEG_OUT:
        *out = (TrunkTensor){.rank = 4, .shape = {1, hidden, 1, 1}};
        break;
    case CLS_W:
        *out = (TrunkTensor){.rank = 4, .shape = {CLS_CHANNELS, c + 1, CLS_SIDE, CLS_SIDE}};
        break;
    case FC_W:
        *out = (TrunkTensor){.rank = 2, .shape = {1, CLS_FEATURES}};
        break;
    case FC_B:
        out->shape[0] = 1;
        break;
    default:
        break;
    }
    snprintf(out->name, sizeof out->name, "%s", names[index]);
}

/* Where a tensor other than cls.conv.weight lies; NULL for running statistics when stats is NULL. */
static float *tensor_at(const HeadParams *p, const HeadStats *stats, size_t index) {
    switch (index) {
    case ADAPTOR_W:
        return p->adaptor_weight;
    case ADAPTOR_B:
        return p->adaptor_bias;
    case SEG_W:
        return p->seg_weight;
    case SEG_B:
        return p->seg_bias;
    case SEG_GAMMA:
        return p->seg_gamma;
    case SEG_BETA:
        return p->seg_beta;
    case SEG_MEAN:
        return stats ? stats->seg_mean : NULL;
    case SEG_VAR:
        return stats ? stats->seg_var : NULL;
    case SEG_OUT:
        return p->seg_out;
    case CLS_B:
        return p->cls_bias;
    case CLS_GAMMA:
        return p->cls_gamma;
    case CLS_BETA:
        return p->cls_beta;
    case CLS_MEAN:
        return stats ? stats->cls_mean : NULL;
    case CLS_VAR:
        return stats ? stats->cls_var : NULL;
    case FC_W:
        return p->fc_weight;
    default:
        return p->fc_bias;
    }
}

static size_t tensor_count(const TrunkTensor *t) {
    size_t n = 1;
    for (size_t i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

/* cls.conv.weight is (128, c + 1, 5, 5) in files; here taps come first and the map's channel, the last, is apart. */
static void cls_copy(const HeadParams *p, float *values, bool to_values) {
    for (size_t o = 0; o < CLS_CHANNELS; o++)
        for (size_t i = 0; i <= p->c; i++)
            for (size_t tap = 0; tap < CLS_TAPS; tap++) {
                const size_t row = tap * CLS_CHANNELS + o;
                float *ours = i < p->c ? p->cls_weight + row * p->c + i : p->cls_map + row;
                float *theirs = values + (o * (p->c + 1) + i) * CLS_TAPS + tap;
                if (to_values)
                    *theirs = *ours;
                else
                    *ours = *theirs;
            }
}

static bool tensor_copy(const HeadParams *p, const HeadStats *stats, size_t index, float *values, bool to_values) {
    if (index == CLS_W) {
        cls_copy(p, values, to_values);
        return true;
    }
    float *ours = tensor_at(p, stats, index);
    if (ours == NULL) return false;
    TrunkTensor t;
    heads_tensor(&(Heads){.params = *p}, index, &t);
    const size_t bytes = tensor_count(&t) * sizeof(float);
    if (to_values)
        memcpy(values, ours, bytes);
    else
        memcpy(ours, values, bytes);
    return true;
}

void heads_get(const Heads *heads, size_t index, float *values) {
    tensor_copy(&heads->params, &heads->stats, index, values, true);
}

void heads_set(Heads *heads, size_t index, const float *values) {
    tensor_copy(&heads->params, &heads->stats, index, (float *)(uintptr_t)values, false);
}

double adaptor_bias_through(const HeadParams *p, const float *row) {
    double sum = 0;
    for (size_t i = 0; i < p->c; i++) sum += (double)row[i] * (double)p->adaptor_bias[i];
    return sum;
}

bool head_params_get(const HeadParams *params, size_t index, float *values) {
    return tensor_copy(params, NULL, index, values, true);
}

/* ---- first values ---------------------------------------------------------------------------------------- */

/* Sets every tensor from `make`. */
static BlemishStatus set_all(Heads *heads, void (*make)(const TrunkTensor *t, size_t index, uint64_t seed, float *out),
                             uint64_t seed, Error *e) {
    for (size_t i = 0; i < HEAD_TENSORS; i++) {
        TrunkTensor t;
        heads_tensor(heads, i, &t);
        float *values = array_new(tensor_count(&t), sizeof *values, e);
        if (values == NULL) return e->status;
        make(&t, i, seed, values);
        heads_set(heads, i, values);
        array_free(values);
    }
    return BLEMISH_OK;
}

static void make_fill(const TrunkTensor *t, size_t index, uint64_t seed, float *out) {
    (void)index, (void)seed;
    fill_tensor(t->name, t->rank, t->shape, out);
}

static void make_initial(const TrunkTensor *t, size_t index, uint64_t seed, float *out) {
    const size_t n = tensor_count(t), receptive = t->rank == 4 ? t->shape[2] * t->shape[3] : 1;
    Random r = random_new(seed, fnv1a64(t->name, strlen(t->name), FNV1A64_BASIS));
    if (t->rank > 1) { /* Xavier normal: variance 2 / (fan in + fan out) */
        const float std = sqrtf(2.0f / (float)((t->shape[0] + t->shape[1]) * receptive));
        for (size_t i = 0; i < n; i++) out[i] = std * random_normal(&r);
        return;
    }
    const bool ones = index == SEG_GAMMA || index == SEG_VAR || index == CLS_GAMMA || index == CLS_VAR;
    for (size_t i = 0; i < n; i++) out[i] = ones ? 1.0f : 0.0f;
}

/* PyTorch's default biases: uniform within 1 / sqrt(fan in). */
static void uniform_bias(float *bias, size_t n, size_t fan_in, uint64_t seed, uint64_t stream) {
    Random r = random_new(seed, stream);
    for (size_t i = 0; i < n; i++) bias[i] = (2.0f * random_float(&r) - 1.0f) / sqrtf((float)fan_in);
}

BlemishStatus heads_initialise(Heads *heads, uint64_t seed, Error *e) {
    const HeadParams *p = &heads->params;
    if (set_all(heads, make_initial, seed, e)) return e->status;
    uniform_bias(p->adaptor_bias, p->c, p->c, seed, 1);
    uniform_bias(p->seg_bias, p->hidden, p->c, seed, 2);
    uniform_bias(p->cls_bias, CLS_CHANNELS, (p->c + 1) * CLS_TAPS, seed, 3);
    uniform_bias(p->fc_bias, 1, CLS_FEATURES, seed, 4);
    return BLEMISH_OK;
}

BlemishStatus heads_fill(Heads *heads, Error *e) {
    return set_all(heads, make_fill, 0, e);
}

BlemishStatus heads_load_tensor(Heads *heads, size_t index, const TensorFile *file, Error *e) {
    const bool variance = index == SEG_VAR || index == CLS_VAR;
    TrunkTensor t;
    const Tensor *found;
    char name[80];
    heads_tensor(heads, index, &t);
    snprintf(name, sizeof name, "heads.%s", t.name);
    if (tensor_file_get(file, name, t.rank, t.shape, &found, e)) return e->status;
    float *values = array_new(found->count, sizeof *values, e);
    if (values == NULL) return e->status;
    tensor_file_floats(file, found, values, e);
    for (size_t k = 0; k < found->count && e->status == BLEMISH_OK; k++)
        if (!isfinite(values[k]) || (variance && values[k] < 0))
            error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found %g at %zu, expected finite values%s", file->path, name,
                      (double)values[k], k, variance ? ", none negative" : "");
    if (e->status == BLEMISH_OK) heads_set(heads, index, values);
    array_free(values);
    return e->status;
}

BlemishStatus heads_load(Heads *heads, const TensorFile *file, Error *e) {
    for (size_t i = 0; i < HEAD_TENSORS; i++)
        if (heads_load_tensor(heads, i, file, e)) return e->status;
    return BLEMISH_OK;
}
