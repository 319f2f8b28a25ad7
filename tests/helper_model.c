#include "helper_model.h"

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void folder_make(char folder[PATH_SIZE]) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder, PATH_SIZE, "%s/blemish-test-XXXXXX", parent && *parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder));
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

void folder_remove(const char *folder) {
    assert_int_equal(nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

char *path_in(char path[PATH_SIZE], const char *folder, const char *name) {
    assert_true(snprintf(path, PATH_SIZE, "%s/%s", folder, name) < PATH_SIZE);
    return path;
}

size_t folder_count(const char *folder) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return n;
}

void model_make(Model *model, size_t height, size_t width) {
    Error e = {0};
    model_start(model);
    assert_ok(trunk_load(&model->trunk, "resnet18", NULL, &e), e.text);
    assert_ok(geometry_make(&model->geometry, height, width, model->trunk.c2, model->trunk.c3, &e), e.text);
    assert_ok(heads_open(&model->heads, model->geometry.c, LIFT_BLOCK, &e), e.text);
    assert_ok(heads_fill(&model->heads, &e), e.text);
    assert_ok(model_header(model, &e), e.text);
}

void picture_make(BlemishImage *image, size_t width, size_t height, int channels, uint64_t seed) {
    Error e = {0};
    Random r = random_new(seed, 0);
    assert_ok(image_new(image, width, height, channels, &e), e.text);
    float wave[6];
    for (int i = 0; i < 6; i++) wave[i] = random_float(&r);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width * (size_t)channels; x++) {
            float v = 100 + 60 * sinf(wave[0] * (float)x / 3 + 6 * wave[1]) + 50 * cosf(wave[2] * (float)y / 2);
            image_pixels(image)[y * image->stride + x] = (uint8_t)(v + 40 * random_float(&r));
        }
}

void model_quantise(Model *m) {
    Error e = {0};
    Engine *engine;
    Backbone *backbone;
    BlemishImage image;
    Statistics statistics;
    const Geometry *g = &m->geometry;
    assert_ok(engine_open(&engine, 2, &e), e.text);
    assert_ok(backbone_open(&backbone, engine, &m->trunk, ELEMENT_F32, 1, g->height, g->width, &e), e.text);
    assert_ok(statistics_open(&statistics, &m->trunk, &e), e.text);
    picture_make(&image, g->width, g->height, 3, 4);
    image_to_input(&image, g->height, g->width, backbone_input(backbone));
    const int before = engine_enter(engine);
    assert_ok(statistics_add(&statistics, engine, &m->trunk, backbone, g, &e), e.text);
    engine_leave(before);
    assert_ok(trunk_quantise(&m->trunk, &statistics, &e), e.text);
    assert_ok(heads_quantise(&m->heads, engine, &m->trunk, &statistics, &e), e.text);
    m->quantised = true;
    assert_ok(model_header(m, &e), e.text);
    backbone_close(backbone);
    engine_close(engine);
    image_free(&image);
    statistics_close(&statistics);
}
