/* The backbone against torchvision's outputs (golden files) and against the plain graph in double. */
#include "net/net.h"
#include "helper_numbers.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plain graph --------------------------------------------------------------------------------------- */

typedef struct Plane {
    size_t h, w, c;
    double *v; /* NHWC, one image */
} Plane;

/* torchvision's description of a network: blocks of layer1 to layer3, inner width of a bottleneck's first layer. */
typedef struct Plain {
    bool bottleneck;
    size_t blocks[3], width;
    double gmac; /* counted as it runs */
} Plain;

static float *filled(const char *prefix, const char *name, size_t rank, const size_t *shape) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) count *= shape[i];
    float *values = zero_floats(count);
    fill_tensor(full, rank, shape, values);
    return values;
}

/* Convolution (padding kernel / 2), then BatchNorm as two separate steps. */
static Plane conv_norm(Plain *net, const Plane *in, const char *prefix, const char *conv, const char *norm, size_t out,
                       size_t kernel, size_t stride) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", conv);
    float *weight = filled(prefix, name, 4, (const size_t[]){out, in->c, kernel, kernel}), *bn[4];
    static const char *const parts[4] = {"weight", "bias", "running_mean", "running_var"};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", norm, parts[i]);
        bn[i] = filled(prefix, name, 1, &out);
    }
    const size_t pad = kernel / 2;
    Plane p = {.h = (in->h + 2 * pad - kernel) / stride + 1, .w = (in->w + 2 * pad - kernel) / stride + 1, .c = out};
    p.v = calloc(p.h * p.w * out, sizeof *p.v);
    assert_non_null(p.v);
    for (size_t i = 0; i < p.h * p.w; i++)
        for (size_t o = 0; o < out; o++) {
            double sum = 0;
            for (size_t u = 0; u < kernel; u++)
                for (size_t v = 0; v < kernel; v++) {
                    const size_t y = i / p.w * stride + u - pad, x = i % p.w * stride + v - pad; /* wraps below 0 */
                    if (y >= in->h || x >= in->w) continue;
                    const double *pixel = in->v + (y * in->w + x) * in->c;
                    const float *w = weight + o * in->c * kernel * kernel + u * kernel + v;
                    for (size_t k = 0; k < in->c; k++) sum += pixel[k] * (double)w[k * kernel * kernel];
                }
            sum = (sum - (double)bn[2][o]) / sqrt((double)bn[3][o] + 1e-5);
            p.v[i * out + o] = sum * (double)bn[0][o] + (double)bn[1][o];
        }
    net->gmac += 1e-9 * (double)(p.h * p.w * out * in->c * kernel * kernel);
    free(weight);
    for (int i = 0; i < 4; i++) free(bn[i]);
    return p;
}

static void relu(Plane *p) {
    for (size_t i = 0; i < p->h * p->w * p->c; i++) p->v[i] = fmax(p->v[i], 0);
}

static Plane max_pool(const Plane *in) {
    Plane p = {.h = (in->h + 1) / 2, .w = (in->w + 1) / 2, .c = in->c};
    p.v = calloc(p.h * p.w * p.c, sizeof *p.v);
    assert_non_null(p.v);
    for (size_t i = 0; i < p.h * p.w * p.c; i++) {
        const size_t y = i / p.c / p.w, x = i / p.c % p.w;
        double max = -INFINITY;
        for (size_t u = y ? 2 * y - 1 : 0; u <= 2 * y + 1 && u < in->h; u++)
            for (size_t v = x ? 2 * x - 1 : 0; v <= 2 * x + 1 && v < in->w; v++)
                max = fmax(max, in->v[(u * in->w + v) * in->c + i % p.c]);
        p.v[i] = max;
    }
    return p;
}

static Plane block(Plain *net, Plane in, const char *prefix, size_t planes, size_t stride) {
    const size_t inner = net->bottleneck ? planes * net->width / 64 : planes;
    const size_t out = net->bottleneck ? 4 * planes : planes;
    Plane a, b, c;
    if (net->bottleneck) {
        a = conv_norm(net, &in, prefix, "conv1", "bn1", inner, 1, 1), relu(&a);
        b = conv_norm(net, &a, prefix, "conv2", "bn2", inner, 3, stride), relu(&b);
        c = conv_norm(net, &b, prefix, "conv3", "bn3", out, 1, 1);
        free(b.v);
    } else {
        a = conv_norm(net, &in, prefix, "conv1", "bn1", inner, 3, stride), relu(&a);
        c = conv_norm(net, &a, prefix, "conv2", "bn2", out, 3, 1);
    }
    free(a.v);
    Plane shortcut = in;
    if (stride != 1 || in.c != out) {
        shortcut = conv_norm(net, &in, prefix, "downsample.0", "downsample.1", out, 1, stride);
        free(in.v);
    }
    for (size_t i = 0; i < c.h * c.w * c.c; i++) c.v[i] += shortcut.v[i];
    relu(&c);
    free(shortcut.v);
    return c;
}

static void plain_graph(Plain *net, const float *image, size_t h, size_t w, Plane layer[3]) {
    Plane x = {h, w, 3, calloc(h * w * 3, sizeof(double))};
    assert_non_null(x.v);
    for (size_t i = 0; i < h * w * 3; i++) x.v[i] = (double)image[i];
    Plane stem = conv_norm(net, &x, "", "conv1", "bn1", 64, 7, 2);
    relu(&stem);
    free(x.v);
    x = max_pool(&stem);
    free(stem.v);
    for (size_t l = 0; l < 3; l++) {
        for (size_t i = 0; i < net->blocks[l]; i++) {
            char prefix[32];
            snprintf(prefix, sizeof prefix, "layer%zu.%zu.", l + 1, i);
            x = block(net, x, prefix, (size_t)64 << l, l > 0 && i == 0 ? 2 : 1);
        }
        layer[l] = x;
        x.v = calloc(x.h * x.w * x.c, sizeof *x.v);
        assert_non_null(x.v);
        memcpy(x.v, layer[l].v, x.h * x.w * x.c * sizeof *x.v);
    }
    free(x.v);
}

/* ---- running the backbone ---------------------------------------------------------------------------------- */

typedef struct Maps {
    float *f2, *f3;
    double gmac;
} Maps;

/* input (batch, height, width, 3) -> both maps, malloc-owned and exactly as long as promised. */
static Maps run_backbone(const Trunk *trunk, const float *input, size_t batch, size_t height, size_t width) {
    Error e = {0};
    Geometry g;
    Engine *engine;
    Backbone *backbone;
    if (geometry_make(&g, height, width, trunk->c2, trunk->c3, &e) || engine_open(&engine, 2, &e) ||
        backbone_open(&backbone, engine, trunk, ELEMENT_F32, batch, height, width, &e))
        fail_msg("%s", e.text);
    Maps maps = {zero_floats(batch * g.h2 * g.w2 * g.c2), zero_floats(batch * g.h3 * g.w3 * g.c3),
                 backbone_gmac(backbone)};
    int before = engine_enter(engine);
    for (int i = 0; i < 2; i++) { /* a second run finds used buffers */
        memcpy(backbone_input(backbone), input, batch * height * width * 3 * sizeof *input);
        const void *f2, *f3;
        if (backbone_run(backbone, &f2, &f3, &e)) fail_msg("%s", e.text);
        memcpy(maps.f2, f2, batch * g.h2 * g.w2 * g.c2 * sizeof *maps.f2);
        memcpy(maps.f3, f3, batch * g.h3 * g.w3 * g.c3 * sizeof *maps.f3);
    }
    engine_leave(before);
    backbone_close(backbone);
    engine_close(engine);
    return maps;
}

static void load_filled(Trunk *trunk, const char *backbone) {
    Error e = {0};
    if (trunk_load(trunk, backbone, NULL, &e)) fail_msg("%s", e.text);
}

static double largest(const double *v, size_t n) {
    double max = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, fabs(v[i]));
    return max;
}

/* Within `share` of want's largest magnitude. */
static void assert_close(const char *what, const float *got, const double *want, size_t n, double share) {
    const double tolerance = share * largest(want, n);
    assert_true(tolerance > 0);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= tolerance))
            fail_msg("%s: at %zu: found %.9g, expected %.9g +- %.3g", what, i, (double)got[i], want[i], tolerance);
}

/* Double against float through up to 40 layers: errors of about 1e-6 of the maximum, a tenth of what is allowed, and
 * far below what a wrong weight, stride or residual makes. */
static void check_plain(const char *backbone, Plain net, size_t height, size_t width) {
    enum { BATCH = 2 };
    Trunk trunk;
    Random r = random_new(1, height);
    const size_t pixels = height * width * 3;
    float *input = random_floats(&r, BATCH * pixels);
    load_filled(&trunk, backbone);
    Maps got = run_backbone(&trunk, input, BATCH, height, width);
    for (size_t i = 0; i < BATCH; i++) {
        Plane layer[3];
        net.gmac = 0;
        plain_graph(&net, input + i * pixels, height, width, layer);
        const size_t n2 = layer[1].h * layer[1].w * layer[1].c, n3 = layer[2].h * layer[2].w * layer[2].c;
        assert_int_equal(layer[1].c, trunk.c2);
        assert_int_equal(layer[2].c, trunk.c3);
        assert_close("f2", got.f2 + i * n2, layer[1].v, n2, 1e-5);
        assert_close("f3", got.f3 + i * n3, layer[2].v, n3, 1e-5);
        assert_true(fabs(got.gmac - net.gmac) < 1e-9 * net.gmac);
        for (int l = 0; l < 3; l++) free(layer[l].v);
    }
    free(input), free(got.f2), free(got.f3);
    trunk_close(&trunk);
}

static void basic_blocks_match_the_plain_graph(void **state) {
    (void)state;
    check_plain("resnet18", (Plain){.blocks = {2, 2, 2}}, 32, 32);
    check_plain("resnet18", (Plain){.blocks = {2, 2, 2}}, 33, 59);
}

static void bottlenecks_match_the_plain_graph(void **state) {
    (void)state;
    check_plain("resnet50", (Plain){.bottleneck = true, .blocks = {3, 4, 6}, .width = 64}, 41, 34);
}

/* ---- golden files ------------------------------------------------------------------------------------------ */

/* The named tensor as double, (N, C, H, W) -> (N, H, W, C); *shape is its own. */
static double *golden(const TensorFile *file, const char *name, const size_t **shape) {
    const Tensor *t = tensor_file_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->rank, 4);
    float *plain = zero_floats(t->count);
    tensor_to_f32(t, plain);
    double *out = calloc(t->count, sizeof *out);
    assert_non_null(out);
    const size_t c = t->shape[1], hw = t->shape[2] * t->shape[3];
    for (size_t i = 0; i < t->count; i++) out[(i / (c * hw) * hw + i % hw) * c + i / hw % c] = (double)plain[i];
    free(plain);
    *shape = t->shape;
    return out;
}

static bool open_golden(TensorFile *file, const char *name) {
    char path[512];
    Error e = {0};
    snprintf(path, sizeof path, "%s/golden/infer-%s.safetensors", SHARED_DIR, name);
    FILE *there = fopen(path, "rb");
    if (there == NULL) {
        print_message("%s is absent: skipped\n", path);
        return false;
    }
    fclose(there);
    if (tensor_file_open(file, path, &e)) fail_msg("%s", e.text);
    return true;
}

static void check_golden(const char *name, const char *backbone) {
    TensorFile file;
    if (!open_golden(&file, name)) skip();
    const size_t *shape, *shape2, *shape3;
    double *image = golden(&file, "image", &shape), *f2 = golden(&file, "out.f2", &shape2);
    double *f3 = golden(&file, "out.f3", &shape3);
    const size_t n = shape[0] * shape[2] * shape[3] * 3;
    float *input = zero_floats(n);
    for (size_t i = 0; i < n; i++) input[i] = (float)image[i];
    Trunk trunk;
    load_filled(&trunk, backbone);
    Maps got = run_backbone(&trunk, input, shape[0], shape[2], shape[3]);
    /* What the project asks for: 1e-4 of the maximum. */
    assert_close("f2", got.f2, f2, shape2[0] * shape2[1] * shape2[2] * shape2[3], 1e-4);
    assert_close("f3", got.f3, f3, shape3[0] * shape3[1] * shape3[2] * shape3[3], 1e-4);
    free(image), free(f2), free(f3), free(input), free(got.f2), free(got.f3);
    trunk_close(&trunk);
    tensor_file_close(&file);
}

#define GOLDEN(test, name, backbone)                                                                                   \
    static void test(void **state) {                                                                                   \
        (void)state;                                                                                                   \
        check_golden(name, backbone);                                                                                  \
    }
GOLDEN(golden_resnet18, "resnet18", "resnet18")
GOLDEN(golden_odd_resnet18, "odd-resnet18", "resnet18")
GOLDEN(golden_resnet34, "resnet34", "resnet34")
GOLDEN(golden_resnet50, "resnet50", "resnet50")
GOLDEN(golden_wide_resnet50_2, "wide_resnet50_2", "wide_resnet50_2")

/* The golden features from the golden maps, through the lift's bands (map, a band of rows, a band of columns). */
static void add_lifted(const double *map, size_t channels, const Band *y, const Band *x, double *out, size_t stride) {
    for (size_t i = 0; i < y->out * x->out; i++)
        for (size_t t = 0; t < y->taps * x->taps; t++) {
            const size_t p = i / x->out, q = i % x->out, u = t / x->taps, v = t % x->taps;
            const double weight = (double)y->weight[p * y->taps + u] * (double)x->weight[q * x->taps + v];
            const double *pixel = map + ((y->first[p] + u) * x->in + x->first[q] + v) * channels;
            for (size_t c = 0; c < channels; c++) out[i * stride + c] += weight * pixel[c];
        }
}

static void golden_features_are_lifted_maps(void **state) {
    (void)state;
    TensorFile file;
    if (!open_golden(&file, "odd-resnet18")) skip();
    const size_t *shape, *s2, *s3, *s;
    double *image = golden(&file, "image", &shape), *f2 = golden(&file, "out.f2", &s2);
    double *f3 = golden(&file, "out.f3", &s3), *features = golden(&file, "out.features", &s);
    Error e = {0};
    Geometry g;
    Lift lift;
    assert_int_equal(geometry_make(&g, shape[2], shape[3], s2[1], s3[1], &e), BLEMISH_OK);
    assert_int_equal(lift_open(&lift, &g, true, &e), BLEMISH_OK);
    assert_int_equal(g.h, s[2]);
    assert_int_equal(g.w, s[3]);
    double *lifted = calloc(g.h * g.w * g.c, sizeof *lifted);
    assert_non_null(lifted);
    add_lifted(f2, g.c2, &lift.y2, &lift.x2, lifted, g.c);
    add_lifted(f3, g.c3, &lift.y3, &lift.x3, lifted + g.c2, g.c);
    const double tolerance = 1e-6 * largest(features, g.h * g.w * g.c); /* float rounding on the reference's side */
    for (size_t i = 0; i < g.h * g.w * g.c; i++) assert_true(fabs(lifted[i] - features[i]) <= tolerance);
    free(image), free(f2), free(f3), free(features), free(lifted);
    lift_close(&lift);
    tensor_file_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(basic_blocks_match_the_plain_graph),
        cmocka_unit_test(bottlenecks_match_the_plain_graph),
        cmocka_unit_test(golden_resnet18),
        cmocka_unit_test(golden_odd_resnet18),
        cmocka_unit_test(golden_resnet34),
        cmocka_unit_test(golden_resnet50),
        cmocka_unit_test(golden_wide_resnet50_2),
        cmocka_unit_test(golden_features_are_lifted_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
