/* The feature cache against the backbone itself, in memory and in a file, and the features' deviation. */
#include "train/features.h"
#include "helper_train.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { HEIGHT = 39, WIDTH = 52, PICTURES = 3, SOURCES = 4 * PICTURES };

static char folder[PATH_SIZE], paths[PICTURES][PATH_SIZE];
static Trunk trunk;
static Engine *engine;
static Geometry g;
static FeatureSource sources[SOURCES];

static int open_all(void **state) {
    (void)state;
    Error e = {0};
    folder_make(folder);
    for (size_t i = 0; i < PICTURES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%zu.png", i);
        train_picture(folder, name, false, i);
        path_in(paths[i], folder, name);
    }
    for (size_t i = 0; i < SOURCES; i++) {
        sources[i] = (FeatureSource){.path = paths[i / 4], .view = AUGMENT_NONE};
        sources[i].view.flip = (Flip)(i % 4);
    }
    assert_ok(trunk_load(&trunk, "resnet18", NULL, &e), e.text);
    assert_ok(engine_open(&engine, 2, &e), e.text);
    assert_ok(geometry_make(&g, HEIGHT, WIDTH, trunk.c2, trunk.c3, &e), e.text);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    engine_close(engine);
    trunk_close(&trunk);
    folder_remove(folder);
    return 0;
}

/* ---- the backbone itself --------------------------------------------------------------------------------- */

/* The nearest bfloat16, ties to even, as float. */
static float bf16(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&v, &bits, sizeof v);
    return v;
}

typedef struct Maps {
    float *f2, *f3;
} Maps;

static Maps maps_new(void) {
    Error e = {0};
    Maps m = {array_new(g.h2 * g.w2 * g.c2, sizeof(float), &e), array_new(g.h3 * g.w3 * g.c3, sizeof(float), &e)};
    assert_true(m.f2 && m.f3);
    return m;
}

static void maps_free(Maps *m) {
    array_free(m->f2);
    array_free(m->f3);
}

/* The maps as floats; of a backbone in bfloat16, exactly its values. */
static void run_backbone(const FeatureSource *source, Element type, Maps *out) {
    Error e = {0};
    BlemishImage image;
    Backbone *backbone;
    float *plain = array_new(HEIGHT * WIDTH * 3, sizeof *plain, &e);
    assert_ok(image_decode(&image, source->path, &e), e.text);
    assert_ok(backbone_open(&backbone, engine, &trunk, type, 1, HEIGHT, WIDTH, &e), e.text);
    image_to_input(&image, HEIGHT, WIDTH, plain);
    float *input = backbone_input(backbone);
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++) {
            const size_t from_y =
                source->view.flip == FLIP_VERTICAL || source->view.flip == FLIP_BOTH ? HEIGHT - 1 - y : y;
            const size_t from_x =
                source->view.flip == FLIP_HORIZONTAL || source->view.flip == FLIP_BOTH ? WIDTH - 1 - x : x;
            memcpy(input + (y * WIDTH + x) * 3, plain + (from_y * WIDTH + from_x) * 3, 3 * sizeof *input);
        }
    const int before = engine_enter(engine);
    const void *f2, *f3;
    assert_ok(backbone_run(backbone, &f2, &f3, &e), e.text);
    const size_t size2 = g.h2 * g.w2 * g.c2, size3 = g.h3 * g.w3 * g.c3;
    if (type == ELEMENT_BF16) {
        kernels()->from_bf16(f2, size2, out->f2);
        kernels()->from_bf16(f3, size3, out->f3);
    } else {
        memcpy(out->f2, f2, size2 * sizeof *out->f2);
        memcpy(out->f3, f3, size3 * sizeof *out->f3);
    }
    engine_leave(before);
    backbone_close(backbone);
    image_free(&image);
    array_free(plain);
}

static Features open_features(size_t count, size_t cache_mb, bool in_bf16) {
    Error e = {0};
    Features f;
    FeatureSource *list = array_new(count, sizeof *list, &e);
    for (size_t i = 0; i < count; i++) list[i] = sources[i % SOURCES];
    const FeatureSettings settings = {.cache_mb = cache_mb, .cache_dir = folder, .bf16 = in_bf16};
    assert_ok(features_open(&f, engine, &trunk, &g, list, count, &settings, &e), e.text);
    array_free(list);
    return f;
}

static void assert_same(const float *got, const float *want, size_t n) {
    assert_memory_equal(got, want, n * sizeof *got);
}

/* ---- tests ----------------------------------------------------------------------------------------------- */

static void assert_entries(bool in_bf16) {
    Features f = open_features(SOURCES, 100, in_bf16);
    Maps got = maps_new(), want = maps_new();
    assert_true(f.in_memory == SOURCES && f.mapped == NULL);
    for (size_t i = 0; i < SOURCES; i++)
        for (int scaled = 0; scaled < 2; scaled++) {
            const float scale = scaled ? 0.37f : 1.0f;
            run_backbone(&sources[i], in_bf16 ? ELEMENT_BF16 : ELEMENT_F32, &want);
            features_get(&f, i, scale, got.f2, got.f3);
            for (size_t k = 0; k < f.size2; k++) want.f2[k] = bf16(want.f2[k]) * scale;
            for (size_t k = 0; k < f.size3; k++) want.f3[k] = bf16(want.f3[k]) * scale;
            assert_same(got.f2, want.f2, f.size2);
            assert_same(got.f3, want.f3, f.size3);
        }
    maps_free(&got);
    maps_free(&want);
    features_close(&f);
}

static void entries_are_the_backbones_output(void **state) {
    (void)state;
    assert_entries(false);
    if (engine_has_bf16())
        assert_entries(true);
    else
        print_message("bfloat16 is left out: this processor has no such products\n");
}

/* Nothing in memory, and a part of it: the same values, and no file to be seen. */
static void a_file_holds_the_same(void **state) {
    (void)state;
    const size_t entry = 2 * (g.h2 * g.w2 * g.c2 + g.h3 * g.w3 * g.c3), count = (1 << 20) / entry + 7;
    Features memory = open_features(count, 100, false);
    Maps a = maps_new(), b = maps_new();
    assert_int_equal(memory.in_memory, count);
    for (size_t mb = 0; mb < 2; mb++) {
        Features f = open_features(count, mb, false);
        assert_int_equal(f.in_memory, mb ? count - 7 : 0);
        assert_non_null(f.mapped);
        assert_int_equal(folder_count(folder), PICTURES);
        for (size_t i = 0; i < count; i++) {
            features_get(&memory, i, 1, a.f2, a.f3);
            features_get(&f, i, 1, b.f2, b.f3);
            assert_same(b.f2, a.f2, f.size2);
            assert_same(b.f3, a.f3, f.size3);
        }
        features_close(&f);
    }
    features_close(&memory);
    maps_free(&a);
    maps_free(&b);
}

static void assert_refused(const FeatureSource *list, const FeatureSettings *settings, const char *named) {
    Error e = {0};
    Features f;
    assert_true(features_open(&f, engine, &trunk, &g, list, SOURCES, settings, &e) != BLEMISH_OK);
    assert_non_null(strstr(e.text, named));
    assert_null(strchr(e.text, '\n'));
    assert_true(f.memory == NULL && f.mapped == NULL && f.count == 0);
    assert_int_equal(folder_count(folder), PICTURES);
}

static void a_folder_that_cannot_hold_it_is_named(void **state) {
    (void)state;
    char absent[PATH_SIZE];
    assert_refused(sources, &(FeatureSettings){.cache_dir = path_in(absent, folder, "absent")}, absent);
    assert_refused(sources, &(FeatureSettings){.cache_dir = paths[0]}, paths[0]);
    /* A limit on the size of files is the nearest thing to a full disk. */
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Error e = {0};
    Features f;
    const FeatureSettings settings = {.cache_dir = folder};
    const BlemishStatus status = features_open(&f, engine, &trunk, &g, sources, SOURCES, &settings, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, folder));
    assert_true(f.mapped == NULL);
    assert_int_equal(folder_count(folder), PICTURES);
}

static void an_unreadable_image_is_named(void **state) {
    (void)state;
    char absent[PATH_SIZE];
    FeatureSource list[SOURCES];
    for (size_t bad = 0; bad < SOURCES; bad += 5) { /* in the first backbone batch and in the second */
        memcpy(list, sources, sizeof list);
        list[bad].path = path_in(absent, folder, "absent.png");
        assert_refused(list, &(FeatureSettings){.cache_dir = folder, .cache_mb = bad}, absent);
    }
}

static void progress_can_stop(void **state) {
    (void)state;
    for (size_t at = 0; at <= SOURCES; at += SOURCES / 3) {
        Error e = {0};
        Features f;
        Stop stop = {.stage = "features", .at = at};
        const FeatureSettings settings = {.cache_dir = folder, .progress = train_stop, .progress_user = &stop};
        assert_int_equal(features_open(&f, engine, &trunk, &g, sources, SOURCES, &settings, &e),
                         BLEMISH_ERROR_INTERRUPTED);
        assert_true(f.mapped == NULL && e.text[0]);
        assert_true(isnan(stop.loss));
        assert_int_equal(folder_count(folder), PICTURES);
    }
}

/* Two passes in double over all values of each channel, the mean taken away first. */
static double plain_deviation(const Features *f, size_t count) {
    Maps m = maps_new();
    double total = 0;
    for (size_t c = 0; c < g.c; c++) {
        const bool second = c < g.c2;
        const size_t pixels = second ? g.h2 * g.w2 : g.h3 * g.w3, channels = second ? g.c2 : g.c3;
        const size_t channel = second ? c : c - g.c2;
        double mean = 0, square = 0;
        for (int pass = 0; pass < 2; pass++)
            for (size_t i = 0; i < count; i++) {
                features_get(f, i, 1, m.f2, m.f3);
                for (size_t p = 0; p < pixels; p++) {
                    const double v = (double)(second ? m.f2 : m.f3)[p * channels + channel];
                    if (pass == 0)
                        mean += v / (double)(pixels * count);
                    else
                        square += (v - mean) * (v - mean) / (double)(pixels * count);
                }
            }
        total += sqrt(square) / (double)g.c;
    }
    maps_free(&m);
    return total;
}

static void deviation_is_its_definition(void **state) {
    (void)state;
    Features f = open_features(SOURCES, 0, false);
    for (size_t count = 1; count <= SOURCES; count += 4) {
        Error e = {0};
        double got = -1, want = plain_deviation(&f, count);
        assert_ok(features_deviation(&f, count, &g, &got, &e), e.text);
        assert_true(want > 0);
        /* The mean square minus the squared mean loses digits where the mean is large: with means up to a thousand
         * deviations a million of the 2^53 are gone. */
        assert_true(fabs(got - want) < 1e-9 * want);
    }
    /* The same image four times over is as wide as once. */
    Features one = {.count = 4, .size2 = f.size2, .size3 = f.size3, .in_memory = 4};
    Error e = {0};
    double once, often;
    const size_t size = f.size2 + f.size3;
    one.memory = array_new(4 * size, sizeof *one.memory, &e);
    for (size_t i = 0; i < 4; i++) memcpy(one.memory + i * size, f.mapped, size * sizeof *one.memory);
    assert_ok(features_deviation(&one, 1, &g, &once, &e), e.text);
    assert_ok(features_deviation(&one, 4, &g, &often, &e), e.text);
    assert_true(fabs(once - often) < 1e-9 * once);
    features_close(&one);
    features_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_the_backbones_output),
        cmocka_unit_test(a_file_holds_the_same),
        cmocka_unit_test(a_folder_that_cannot_hold_it_is_named),
        cmocka_unit_test(an_unreadable_image_is_named),
        cmocka_unit_test(progress_can_stop),
        cmocka_unit_test(deviation_is_its_definition),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
