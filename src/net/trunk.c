#include "net/net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Names the BatchNorm that follows a convolution: convN -> bnN, downsample.0 -> downsample.1. */
static void batch_norm_name(const char *conv, char out[64]) {
    size_t n = strlen(conv);
    const char *at = strstr(conv, "conv");
    if (at)
        snprintf(out, 64, "%.*sbn%c", (int)(at - conv), conv, conv[n - 1]);
    else
        snprintf(out, 64, "%.*s1", (int)(n - 1), conv);
}

/* Stride 2 in the stem and in the first block of layer2 and layer3: on the 3x3 convolution (the first of a basic
 * block, the second of a bottleneck, which is torchvision's "V1.5") and on the downsampling. */
static size_t conv_stride(const char *name, bool bottleneck) {
    if (strcmp(name, "conv1") == 0) return 2;
    if (strncmp(name, "layer2.0.", 9) && strncmp(name, "layer3.0.", 9)) return 1;
    const char *part = name + 9;
    return strcmp(part, "downsample.0") == 0 || strcmp(part, bottleneck ? "conv2" : "conv1") == 0 ? 2 : 1;
}

static size_t weight_count(const TrunkConv *conv) {
    return conv->out * conv->in * conv->kernel * conv->kernel;
}

/* Fills everything but the values; file: where the weights stay, or NULL. */
static BlemishStatus trunk_layout(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e) {
    enum { CAPACITY = 5 * TRUNK_CONVS_MAX };
    memset(trunk, 0, sizeof *trunk);
    size_t count = trunk_tensors(backbone, NULL, 0);
    if (count == 0 || count > CAPACITY) {
        char known[256] = "";
        for (size_t i = 0; trunk_name(i); i++) {
            size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", trunk_name(i));
        }
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "backbone: found '%s', expected one of %s", backbone, known);
    }
    TrunkTensor *tensors = array_new(count, sizeof *tensors, e);
    if (tensors == NULL) return e->status;
    trunk_tensors(backbone, tensors, count);
    snprintf(trunk->backbone, sizeof trunk->backbone, "%s", backbone);
    trunk->file = file;
    bool bottleneck = false;
    for (size_t i = 0; i < count; i++) bottleneck |= strcmp(tensors[i].name, "layer1.0.conv3.weight") == 0;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].rank != 4) continue;
        TrunkConv *conv = &trunk->convs[trunk->count++];
        snprintf(conv->name, sizeof conv->name, "%.*s", (int)(strlen(tensors[i].name) - strlen(".weight")),
                 tensors[i].name);
        conv->out = tensors[i].shape[0];
        conv->in = tensors[i].shape[1];
        conv->kernel = tensors[i].shape[2];
        conv->padding = conv->kernel / 2;
        conv->stride = conv_stride(conv->name, bottleneck);
        if (file == NULL && (conv->weight = array_new(weight_count(conv), sizeof(float), e)) == NULL) break;
        if ((conv->bias = array_new(conv->out, sizeof(float), e)) == NULL) break;
        if (strncmp(conv->name, "layer2", 6) == 0) trunk->c2 = conv->out;
        if (strncmp(conv->name, "layer3", 6) == 0) trunk->c3 = conv->out;
    }
    array_free(tensors);
    return e->status;
}

static BlemishStatus fetch(const TensorFile *file, const char *name, size_t rank, const size_t *shape, float *out,
                           Error *e) {
    if (file == NULL) {
        fill_tensor(name, rank, shape, out);
        return BLEMISH_OK;
    }
    const Tensor *tensor;
    if (tensor_file_get(file, name, rank, shape, &tensor, e)) return e->status;
    if (tensor_file_floats(file, tensor, out, e)) return e->status;
    for (size_t i = 0; i < tensor->count; i++)
        if (!isfinite(out[i]))
            return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found a value that is not finite at %zu", file->path,
                             name, i);
    return BLEMISH_OK;
}

static BlemishStatus load_conv(TrunkConv *conv, const TensorFile *file, Error *e) {
    char name[128], norm[64];
    const size_t shape[4] = {conv->out, conv->in, conv->kernel, conv->kernel};
    snprintf(name, sizeof name, "%s.weight", conv->name);
    if (fetch(file, name, 4, shape, conv->weight, e)) return e->status;
    float *bn = array_new(4 * conv->out, sizeof *bn, e);
    if (bn == NULL) return e->status;
    static const char *const parts[4] = {"weight", "bias", "running_mean", "running_var"};
    batch_norm_name(conv->name, norm);
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", norm, parts[i]);
        if (fetch(file, name, 1, &conv->out, bn + i * conv->out, e)) goto done;
    }
    const size_t per = conv->in * conv->kernel * conv->kernel;
    for (size_t o = 0; o < conv->out; o++) {
        double variance = (double)bn[3 * conv->out + o];
        if (variance < 0) {
            error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s.running_var: found %g, expected no negative value",
                      file ? file->path : "", norm, variance);
            goto done;
        }
        double scale = (double)bn[o] / sqrt(variance + BN_EPSILON);
        for (size_t i = 0; i < per; i++) conv->weight[o * per + i] = (float)((double)conv->weight[o * per + i] * scale);
        conv->bias[o] = (float)((double)bn[conv->out + o] - (double)bn[2 * conv->out + o] * scale);
    }
done:
    array_free(bn);
    return e->status;
}

/* Integers become multiples of their row's scale; floats have none. */
static BlemishStatus apply_scales(const Trunk *trunk, const TrunkConv *conv, const char *name, float *weight,
                                  Error *e) {
    char scale_name[128];
    const size_t per = conv->in * conv->kernel * conv->kernel;
    if (tensor_file_find(trunk->file, name)->type != TENSOR_I8) return BLEMISH_OK;
    float *scale = array_new(conv->out, sizeof *scale, e);
    if (scale == NULL) return e->status;
    snprintf(scale_name, sizeof scale_name, "backbone.%s.scale", conv->name);
    if (fetch(trunk->file, scale_name, 1, &conv->out, scale, e) == BLEMISH_OK)
        scale_rows(weight, scale, conv->out, per, per, weight, trunk->file->path, scale_name, e);
    array_free(scale);
    return e->status;
}

const float *trunk_weight(const Trunk *trunk, const TrunkConv *conv, float **owned, Error *e) {
    char name[128];
    const size_t shape[4] = {conv->out, conv->in, conv->kernel, conv->kernel};
    *owned = NULL;
    if (conv->weight) return conv->weight;
    if ((*owned = array_new(weight_count(conv), sizeof **owned, e)) == NULL) return NULL;
    snprintf(name, sizeof name, "backbone.%s.weight", conv->name);
    if (fetch(trunk->file, name, 4, shape, *owned, e) || apply_scales(trunk, conv, name, *owned, e)) {
        array_free(*owned);
        *owned = NULL;
    }
    return *owned;
}

BlemishStatus trunk_fetch(Trunk *trunk, Error *e) {
    for (size_t i = 0; i < trunk->count; i++) {
        TrunkConv *conv = &trunk->convs[i];
        if (conv->weight == NULL && trunk_weight(trunk, conv, &conv->weight, e) == NULL) return e->status;
    }
    return BLEMISH_OK;
}

/* The bias; the weights are read to see that they are there and finite. */
static BlemishStatus load_folded_conv(Trunk *trunk, TrunkConv *conv, Error *e) {
    char name[128];
    float *weight;
    trunk_weight(trunk, conv, &weight, e);
    array_free(weight);
    snprintf(name, sizeof name, "backbone.%s.bias", conv->name);
    return e->status ? e->status : fetch(trunk->file, name, 1, &conv->out, conv->bias, e);
}

/* The same and the step of the result, which tells trunk_weight that the weights have scales. */
static BlemishStatus load_quantised_conv(Trunk *trunk, TrunkConv *conv, Error *e) {
    char name[128];
    const size_t one = 1;
    snprintf(name, sizeof name, "backbone.%s.step", conv->name);
    if (fetch(trunk->file, name, 1, &one, &conv->step, e)) return e->status;
    if (!(conv->step > 0))
        return error_set(e, BLEMISH_ERROR_FORMAT, "%s: %s: found %g, expected a positive number", trunk->file->path,
                         name, (double)conv->step);
    return load_folded_conv(trunk, conv, e);
}

static BlemishStatus load_from_model(Trunk *trunk, const char *backbone, const TensorFile *file,
                                     BlemishStatus (*load)(Trunk *, TrunkConv *, Error *), Error *e) {
    e->status = BLEMISH_OK;
    trunk_layout(trunk, backbone, file, e);
    for (size_t i = 0; i < trunk->count && e->status == BLEMISH_OK; i++) load(trunk, &trunk->convs[i], e);
    if (e->status != BLEMISH_OK) trunk_close(trunk);
    return e->status;
}

BlemishStatus trunk_load(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e) {
    e->status = BLEMISH_OK;
    trunk_layout(trunk, backbone, NULL, e);
    for (size_t i = 0; i < trunk->count && e->status == BLEMISH_OK; i++) load_conv(&trunk->convs[i], file, e);
    if (e->status != BLEMISH_OK) trunk_close(trunk);
    return e->status;
}

BlemishStatus trunk_load_folded(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e) {
    return load_from_model(trunk, backbone, file, load_folded_conv, e);
}

BlemishStatus trunk_load_quantised(Trunk *trunk, const char *backbone, const TensorFile *file, Error *e) {
    return load_from_model(trunk, backbone, file, load_quantised_conv, e);
}

void trunk_close(Trunk *trunk) {
    for (size_t i = 0; i < trunk->count; i++) {
        array_free(trunk->convs[i].weight);
        array_free(trunk->convs[i].bias);
    }
    memset(trunk, 0, sizeof *trunk);
}
