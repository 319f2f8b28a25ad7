/* ResNet's trunk as a list of fused convolutions over four rotating buffers. */
#include "net/net.h"

#include <string.h>

/* Buffers by role. A block reads X; its convolutions go through A and B; the residual sum is formed in place in the
 * buffer that holds the shortcut: X itself, or D after a downsampling. layer3's first block leaves layer2's output in
 * what is D from then on, and nothing after it downsamples: it is there until the next run. */
enum { X, A, B, D, BUFFERS };

typedef struct Step {
    Conv *conv;
    int from, to;         /* buffers */
    size_t index;         /* of the trunk's convolution */
    size_t height, width; /* of its input */
    size_t count;         /* values of the result */
    bool ends_layer2;     /* `to` now holds layer2's output */
    bool swaps;           /* afterwards D is the new X */
    const char *stage;
} Step;

struct Backbone {
    Engine *engine;
    Step steps[TRUNK_CONVS_MAX];
    size_t count;
    Pool *pool;
    Element type; /* of the buffers */
    float *input;
    void *buffers[BUFFERS], *scratch;
    size_t batch, height, width; /* of the input */
    BackboneFn observe;          /* or NULL */
    void *observe_user;
    double gmac;
};

typedef struct Builder {
    Backbone *b;
    Engine *engine;
    const Trunk *trunk;
    float step[BUFFERS];     /* quantised: of what each buffer holds */
    size_t largest, scratch; /* bytes */
    Error *e;
} Builder;

static void note_size(size_t *largest, size_t size) {
    if (size > *largest) *largest = size;
}

/* Where the profile counts a convolution. */
static const char *stage_of(const char *name) {
    static const char *const layers[] = {"layer1", "layer2", "layer3"};
    for (size_t i = 0; i < 3; i++)
        if (strncmp(name, layers[i], strlen(layers[i])) == 0) return layers[i];
    return "stem";
}

/* The convolution of a quantised trunk; the residual is in the buffer that the result goes to. */
static BlemishStatus open_int8(Builder *build, Conv **conv, const TrunkConv *c, const float *plain, ConvShape *shape,
                               int from, int to) {
    Error *e = build->e;
    const size_t per = c->in * c->kernel * c->kernel;
    if (build->b->count == 0) {
        build->step[to] = c->step;
        return stem_open(conv, build->engine, c, plain, shape, e);
    }
    int8_t *weight = array_new(c->out * per, 1, e);
    float *scale = array_new(c->out, sizeof *scale, e), *bias = array_new(c->out, sizeof *bias, e);
    if (weight && scale && bias) {
        quantise_rows(plain, c->out, per, per, weight, scale);
        for (size_t i = 0; i < c->out; i++) {
            scale[i] *= build->step[from] / c->step;
            bias[i] = c->bias[i] / c->step;
        }
        shape->to = shape->relu ? ELEMENT_U8 : ELEMENT_S8;
        shape->added = to == D ? ELEMENT_S8 : ELEMENT_U8;
        shape->add_scale = build->step[to] / c->step;
        conv_open_int8(conv, build->engine, shape, weight, scale, bias, e);
        build->step[to] = c->step;
    }
    array_free(weight);
    array_free(scale);
    array_free(bias);
    return e->status;
}

/* Appends one convolution on a height x width input. */
static Step *add_step(Builder *build, const TrunkConv *conv, size_t height, size_t width, bool add, bool relu, int from,
                      int to) {
    Backbone *b = build->b;
    Step *step = &b->steps[b->count];
    ConvShape shape = {.batch = b->batch,
                       .height = height,
                       .width = width,
                       .in = conv->in,
                       .out = conv->out,
                       .kernel = conv->kernel,
                       .stride = conv->stride,
                       .padding = conv->padding,
                       .add = add,
                       .relu = relu,
                       .from = b->type,
                       .to = b->type};
    float *owned;
    const float *weight = trunk_weight(build->trunk, conv, &owned, build->e);
    if (weight && b->type == ELEMENT_U8) open_int8(build, &step->conv, conv, weight, &shape, from, to);
    if (weight && b->type != ELEMENT_U8) conv_open(&step->conv, build->engine, &shape, weight, conv->bias, build->e);
    array_free(owned);
    if (build->e->status != BLEMISH_OK) return NULL;
    b->count++;
    step->index = (size_t)(conv - build->trunk->convs);
    step->from = from;
    step->to = to;
    step->stage = stage_of(conv->name);
    size_t pixels = conv_out_size(height, conv->kernel, conv->stride, conv->padding) *
                    conv_out_size(width, conv->kernel, conv->stride, conv->padding);
    step->height = height, step->width = width;
    step->count = b->batch * pixels * conv->out;
    note_size(&build->largest, b->batch * pixels * conv->out * element_size(b->type));
    note_size(&build->scratch, conv_scratch(step->conv));
    b->gmac += 1e-9 * (double)pixels * (double)(conv->out * conv->in * conv->kernel * conv->kernel);
    return step;
}

/* A convolution's name within its block: "conv1" of "layer1.0.conv1". */
static const char *name_in_block(const TrunkConv *conv) {
    return strchr(strchr(conv->name, '.') + 1, '.') + 1;
}

/* The block's convolution of that name, or NULL. */
static const TrunkConv *part_of(const TrunkConv *convs, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(name_in_block(&convs[i]), name) == 0) return &convs[i];
    return NULL;
}

/* How many convolutions from the first one on belong to its block: they share what comes before their own name. */
static size_t block_length(const TrunkConv *convs, size_t count) {
    const size_t prefix = (size_t)(name_in_block(convs) - convs->name);
    size_t n = 1;
    while (n < count && strncmp(convs[n].name, convs->name, prefix) == 0) n++;
    return n;
}

/* One residual block of n convolutions; *height and *width become its output's. */
static BlemishStatus add_block(Builder *build, const TrunkConv *convs, size_t n, size_t *height, size_t *width) {
    const TrunkConv *c1 = part_of(convs, n, "conv1"), *c2 = part_of(convs, n, "conv2");
    const TrunkConv *c3 = part_of(convs, n, "conv3"), *down = part_of(convs, n, "downsample.0");
    const int shortcut = down ? D : X;
    if (down && !add_step(build, down, *height, *width, false, false, X, D)) return build->e->status;
    if (!add_step(build, c1, *height, *width, false, true, X, A)) return build->e->status;
    if (c1->stride == 2) *height = conv_out_size(*height, 3, 2, 1), *width = conv_out_size(*width, 3, 2, 1);
    Step *last = add_step(build, c2, *height, *width, c3 == NULL, true, A, c3 ? B : shortcut);
    if (last && c2->stride == 2) *height = conv_out_size(*height, 3, 2, 1), *width = conv_out_size(*width, 3, 2, 1);
    if (last && c3) last = add_step(build, c3, *height, *width, true, true, B, shortcut);
    if (last) last->swaps = down != NULL;
    if (down) build->step[X] = build->step[D];
    return build->e->status;
}

static BlemishStatus build_steps(Builder *build, const Trunk *trunk, size_t height, size_t width) {
    Backbone *b = build->b;
    const TrunkConv *convs = trunk->convs;
    if (!add_step(build, &convs[0], height, width, false, true, B, A)) return build->e->status;
    note_size(&build->largest, stem_input_bytes(b->batch, height, width));
    height = conv_out_size(height, 7, 2, 3), width = conv_out_size(width, 7, 2, 3);
    if (pool_open(&b->pool, build->engine, b->type, b->batch, height, width, convs[0].out, build->e))
        return build->e->status;
    build->step[X] = build->step[A];
    note_size(&build->scratch, pool_scratch(b->pool));
    height = conv_out_size(height, 3, 2, 1), width = conv_out_size(width, 3, 2, 1);
    for (size_t i = 1, n; i < trunk->count; i += n) {
        n = block_length(convs + i, trunk->count - i);
        if (add_block(build, convs + i, n, &height, &width)) return build->e->status;
        b->steps[b->count - 1].ends_layer2 =
            i + n < trunk->count && convs[i].name[5] == '2' && convs[i + n].name[5] == '3';
    }
    return BLEMISH_OK;
}

BlemishStatus backbone_open(Backbone **out, Engine *engine, const Trunk *trunk, Element type, size_t batch,
                            size_t height, size_t width, Error *e) {
    e->status = BLEMISH_OK;
    Backbone *b = array_new(1, sizeof *b, e);
    *out = b;
    if (b == NULL) return e->status;
    b->type = type;
    b->batch = batch;
    b->height = height;
    b->width = width;
    b->engine = engine;
    Builder build = {.b = b, .engine = engine, .trunk = trunk, .e = e};
    int before = engine_enter(engine);
    if (build_steps(&build, trunk, height, width) == BLEMISH_OK) {
        b->input = array_new(batch * height * width * 3, sizeof(float), e);
        for (int i = 0; i < BUFFERS; i++) b->buffers[i] = array_new(build.largest, 1, e);
        b->scratch = array_new(build.scratch, 1, e);
    }
    engine_leave(before);
    if (e->status != BLEMISH_OK) {
        backbone_close(b);
        *out = NULL;
    }
    return e->status;
}

float *backbone_input(Backbone *backbone) {
    return backbone->input;
}

/* The input as the first convolution reads it, in buffer B. */
static const void *take_input(const Backbone *b) {
    enum { SLICE = 1 << 14 };
    const size_t count = b->batch * b->height * b->width * 3;
    void *out = b->buffers[B];
    if (b->type == ELEMENT_F32) return b->input;
    if (b->type == ELEMENT_U8) {
        stem_input(b->input, b->batch, b->height, b->width, out);
        return out;
    }
    const Kernels *k = kernels();
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < count; i += SLICE)
        k->to_bf16(b->input + i, count - i < SLICE ? count - i : SLICE, (uint16_t *)out + i);
    return out;
}

BlemishStatus backbone_run(Backbone *b, const void **f2, const void **f3, Error *e) {
    void *at[BUFFERS];
    memcpy(at, b->buffers, sizeof at);
    const void *input = take_input(b);
    for (size_t i = 0; i < b->count; i++) {
        const Step *s = &b->steps[i];
        const void *from = i == 0 ? input : at[s->from];
        if (conv_run(s->conv, from, at[s->to], b->scratch, e)) return e->status;
        if (b->observe && b->observe(b->observe_user, s->index, from, s->height, s->width, at[s->to], s->count, e))
            return e->status;
        if (i == 0 && pool_run(b->pool, at[A], at[X], b->scratch, e)) return e->status;
        if (s->ends_layer2) *f2 = at[s->to];
        if (s->swaps) {
            void *swap = at[X];
            at[X] = at[D];
            at[D] = swap;
        }
        engine_lap(b->engine, s->stage);
    }
    *f3 = at[X];
    return BLEMISH_OK;
}

void backbone_observe(Backbone *b, BackboneFn each, void *user) {
    b->observe = each;
    b->observe_user = user;
}

double backbone_gmac(const Backbone *backbone) {
    return backbone->gmac;
}

void backbone_close(Backbone *b) {
    if (b == NULL) return;
    for (size_t i = 0; i < b->count; i++) conv_close(b->steps[i].conv);
    pool_close(b->pool);
    array_free(b->input);
    for (int i = 0; i < BUFFERS; i++) array_free(b->buffers[i]);
    array_free(b->scratch);
    array_free(b);
}
