/* Recipe files: what they set, what is refused and where, hostile bytes, the shipped ones, the documented keys. */
#include "helper_model.h"
#include "train/train.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char folder[PATH_SIZE], path[PATH_SIZE];
static int memory; /* the file at `path`: in memory, for it is written some thousand times */

static int open_folder(void **state) {
    (void)state;
    folder_make(folder);
    memory = memfd_create("recipe", MFD_CLOEXEC);
    assert_true(memory >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    return 0;
}

static int close_folder(void **state) {
    (void)state;
    close(memory);
    folder_remove(folder);
    return 0;
}

static void write_bytes(const char *bytes, size_t length) {
    assert_int_equal(ftruncate(memory, 0), 0);
    assert_int_equal(pwrite(memory, bytes, length, 0), length);
}

static char *json_of(const Recipe *r) {
    Text t = {0};
    recipe_json(r, &t);
    assert_non_null(t.data);
    return t.data;
}

static void assert_same(const Recipe *a, const Recipe *b) {
    char *x = json_of(a), *y = json_of(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static BlemishStatus load(Recipe *r, const char *text, Error *e) {
    write_bytes(text, strlen(text));
    return recipe_load(r, path, e);
}

static void later_files_change_only_what_they_say(void **state) {
    (void)state;
    Recipe r;
    Error e = {0};
    recipe_defaults(&r);
    assert_ok(
        load(&r, "# a comment\ntrain:\n  epochs: 50 # another\n  regime: 'supervised'\nmodel: {size: 64x80}\n", &e),
        e.text);
    assert_ok(load(&r, "---\ntrain: {\"epochs\": \"7\"}\n...\n", &e), e.text);
    assert_int_not_equal(load(&r, "anomaly:\n  mask: uniform\n  noise_std: 3.0e-2\nloss:\n", &e), BLEMISH_OK);
    Recipe expected;
    recipe_defaults(&expected);
    expected.regime = REGIME_SUPERVISED;
    expected.epochs = 7;
    expected.height = 64;
    expected.width = 80;
    assert_same(&r, &expected); /* the third file is refused for its last line, so its first ones do nothing either */
    assert_ok(load(&r, "anomaly:\n  mask: uniform\n  noise_std: 3.0e-2\n", &e), e.text);
    expected.mask = MASK_UNIFORM;
    expected.noise_std = 0.03;
    assert_same(&r, &expected);
}

typedef struct Refusal {
    const char *text, *message; /* after "PATH:" */
} Refusal;

static void refusals_name_the_line_and_change_nothing(void **state) {
    (void)state;
    static const Refusal refusals[] = {
        {"", "1: found nothing, expected sections of KEY: VALUE"},
        {"# nothing but this\n", "2: found nothing, expected sections of KEY: VALUE"},
        {"---\n---\n", "2: found a single value, expected sections of KEY: VALUE"},
        {"train", "1: found a single value, expected sections of KEY: VALUE"},
        {"- train\n", "1: found a list, expected sections of KEY: VALUE"},
        {"train:\n  epochs: 50\nepochs: 50\n",
         "3: epochs: found outside a section, expected a section such as train: with "
         "KEY: VALUE in it"},
        {"train:\n", "1: train: found outside a section, expected a section such as train: with KEY: VALUE in it"},
        {"train:\n  epochs: 50\n  batch: 0\n", "3: train.batch: found '0', expected a whole number from 1 to 4096"},
        {"train:\n\n\n  epochs:\n", "4: train.epochs: found '', expected a whole number from 1 to 100000"},
        {"train:\n  epochs: ~\n", "2: train.epochs: found '~', expected a whole number from 1 to 100000"},
        {"train:\n  epoch: 5\n", "2: unknown key 'train.epoch'; the nearest is 'train.epochs'"},
        {"trian:\n  epochs: 5\n", "2: unknown key 'trian.epochs'; the nearest is 'train.epochs'"},
        {"loss:\n  batch: 5\n", "2: unknown key 'loss.batch'; the nearest is 'train.batch'"},
        {"data:\n  model.hidden: 64\n", NULL},
        {"train:\n  epochs: 5\n  epochs: 5\n", "3: train.epochs: found a second time, expected once"},
        {"model:\n  size: 64\n  size: 64\n", "3: model.size: found a second time, expected once"},
        {"train:\n  epochs: 5\nloss:\n  segmentation: 0\ntrain:\n  batch: 5\n",
         "5: train: found a second time, expected once"},
        {"train:\n  epochs: &a 5\n", "2: found an anchor or alias (& or *), expected sections of KEY: VALUE"},
        {"train: &a\n  epochs: 5\n", "1: found an anchor or alias (& or *), expected sections of KEY: VALUE"},
        {"&a train:\n  epochs: 5\n", "1: found an anchor or alias (& or *), expected sections of KEY: VALUE"},
        {"train:\n  epochs: *a\n", "2: found an anchor or alias (& or *), expected sections of KEY: VALUE"},
        {"train:\n  <<: *a\n", "2: found an anchor or alias (& or *), expected sections of KEY: VALUE"},
        {"train:\n  epochs: !!int 5\n", "2: found a tag (!), expected sections of KEY: VALUE"},
        {"train: !x\n  epochs: 5\n", "1: found a tag (!), expected sections of KEY: VALUE"},
        {"train:\n  epochs: [5]\n", "2: found a list, expected sections of KEY: VALUE"},
        {"train:\n  epochs: {a: 5}\n", "2: train.epochs: found a section inside a section, expected a value"},
        {"train:\n  ? {a: b}\n  : 5\n", "2: found no name, expected KEY: VALUE"},
        {"? {a: b}\n: 5\n", "1: found no name, expected a section"},
        {"train:\n  epochs: 5\n---\nmodel:\n  hidden: 64\n", "3: found a second document, expected one"},
        {"train:\n  epochs: \"5\\0\"\n",
         "2: found a word too long, or with a null byte, expected sections of KEY: VALUE"},
        {"train:\n  epochs: \"5\\n6\"\n", "2: train.epochs: found '5?6', expected a whole number from 1 to 100000"},
        {"train:\n\tepochs: 5\n", NULL},
        {"train:\n  epochs: 5\n bad\n", NULL},
        {"train: {epochs: 5\n", NULL},
        {"train:\n  epochs: \"5\n", NULL},
        {"train:\n  epochs: |\n    5\n", "2: train.epochs: found '5?', expected a whole number from 1 to 100000"},
        {"train:\n  epochs: @5\n", NULL},
        {"train:\n  \xff: 5\n", NULL},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        Recipe before, r;
        Error e = {0};
        char expected[PATH_SIZE + 200];
        recipe_defaults(&before);
        recipe_defaults(&r);
        BlemishStatus status = load(&r, refusals[i].text, &e);
        if (status == BLEMISH_OK) fail_msg("accepted: %s", refusals[i].text);
        snprintf(expected, sizeof expected, "%s:%s", path, refusals[i].message ? refusals[i].message : "");
        if (refusals[i].message)
            assert_string_equal(e.text, expected);
        else
            assert_memory_equal(e.text, expected, strlen(expected));
        assert_null(strchr(e.text, '\n'));
        assert_same(&before, &r);
    }
}

/* Deep, long and large files end quickly with one line. */
static void hostile_files(void **state) {
    (void)state;
    static char text[1 << 17];
    static const char *const units[] = {"[",    "{",  "- ", "a: ", "? ",    "&a ", "*a ",
                                        "!!x ", "\"", "x",  "\n",  "a:\n ", "|\n", "%TAG ! x\n"};
    Recipe before, r;
    recipe_defaults(&before);
    r = before;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        for (size_t size = 1000; size < sizeof text; size = size * 8 + 1) {
            Error e = {0};
            size_t length = 0;
            for (; length + strlen(units[u]) < size; length += strlen(units[u]))
                memcpy(text + length, units[u], strlen(units[u]));
            write_bytes(text, length);
            assert_int_not_equal(recipe_load(&r, path, &e), BLEMISH_OK);
            assert_true(strlen(e.text) > 0);
        }
    /* 64 KiB are read, one byte more is refused. */
    memset(text, '#', sizeof text);
    memcpy(text, "train: {epochs: 7}\n", 19);
    Error e = {0};
    write_bytes(text, 1 << 16);
    assert_ok(recipe_load(&r, path, &e), e.text);
    assert_int_equal(r.epochs, 7);
    write_bytes(text, (1 << 16) + 1);
    assert_int_equal(recipe_load(&r, path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "more than 65536 bytes"));
    assert_int_equal(recipe_load(&r, folder, &e), BLEMISH_ERROR_IO);
    assert_int_equal(recipe_load(&r, "/nonexistent/r.yaml", &e), BLEMISH_ERROR_IO);
}

/* Every truncation and random changes of a whole recipe: read or refused, never half done. */
static void truncated_and_changed_files(void **state) {
    (void)state;
    Recipe whole, r;
    Error e = {0};
    recipe_defaults(&whole);
    char *json = json_of(&whole);
    const size_t length = strlen(json);
    for (size_t n = 0; n < length; n++) {
        write_bytes(json, n);
        r = whole;
        assert_int_not_equal(recipe_load(&r, path, &e), BLEMISH_OK);
        assert_same(&r, &whole);
    }
    Random random = random_new(11, 0);
    for (int round = 0; round < 3000; round++) {
        char *copy = text_copy(json, &e);
        for (uint32_t changes = 1 + random_below(&random, 3); changes; changes--)
            copy[random_below(&random, (uint32_t)length)] = (char)random_u32(&random);
        write_bytes(copy, length);
        r = whole;
        if (recipe_load(&r, path, &e) != BLEMISH_OK) {
            assert_same(&r, &whole);
            assert_true(strncmp(e.text, path, strlen(path)) == 0);
        }
        free(copy);
    }
    free(json);
}

/* The object in a model file is a recipe file. */
static void json_is_a_recipe_file(void **state) {
    (void)state;
    Recipe r, back;
    Error e = {0};
    recipe_defaults(&r);
    r.seed = 9007199254740991u;
    r.regime = REGIME_SUPERVISED;
    r.variant = VARIANT_ICPR;
    r.mask = MASK_NONE;
    r.head_lr = 0.000123456789012345;
    r.feature_scale = 1e-6;
    r.flips = r.upscale = r.classification = 0;
    recipe_defaults(&back);
    char *json = json_of(&r);
    assert_ok(load(&back, json, &e), e.text);
    assert_same(&r, &back);
    free(json);
}

/* ---- the shipped files ----------------------------------------------------------------------------------- */

static size_t for_each_yaml(const char *dir, void (*each)(const char *file, const char *name)) {
    DIR *d = opendir(dir);
    assert_non_null(d);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(d));) {
        char file[PATH_SIZE];
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".yaml") != 0) continue;
        snprintf(file, sizeof file, "%s/%s", dir, entry->d_name);
        each(file, entry->d_name);
        count++;
    }
    closedir(d);
    return count;
}

/* A base recipe names every key and loads over anything; what it gives goes round through JSON. */
static void check_recipe(const char *file, const char *name) {
    Recipe a, b, back;
    Error e = {0};
    recipe_defaults(&a);
    recipe_defaults(&b);
    static const char *const other[][2] = {{"regime", "auto"},
                                           {"epochs", "1"},
                                           {"batch", "1"},
                                           {"seed", "9"},
                                           {"adaptor_lr", "1"},
                                           {"adaptor_decay", "1"},
                                           {"head_lr", "1"},
                                           {"head_decay", "1"},
                                           {"lr_drop", "1"},
                                           {"lr_drop_first", "0"},
                                           {"lr_drop_second", "0"},
                                           {"clip", "9"},
                                           {"stop_grad", "1"},
                                           {"variant", "icpr"},
                                           {"size", "99"},
                                           {"hidden", "64"},
                                           {"upscale", "0"},
                                           {"align_corners", "0"},
                                           {"classification", "0"},
                                           {"feature_scale", "9"},
                                           {"mask", "none"},
                                           {"noise_std", "9"},
                                           {"perlin_threshold", "0.5"},
                                           {"segmentation", "0"},
                                           {"distance_weights", "0"},
                                           {"flips", "0"},
                                           {"dilate", "9"},
                                           {"rotate", "1"},
                                           {"brightness", "0.9"},
                                           {"contrast", "0.9"},
                                           {"shift", "0.25"},
                                           {"variants", "0"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        assert_ok(recipe_set(&b, other[i][0], other[i][1], &e), e.text);
    assert_ok(recipe_load(&a, file, &e), e.text);
    assert_ok(recipe_load(&b, file, &e), e.text);
    assert_same(&a, &b);
    char *json = json_of(&a);
    recipe_defaults(&back);
    assert_ok(load(&back, json, &e), e.text);
    assert_same(&a, &back);
    free(json);
    Recipe resolved = a;
    recipe_resolve(&resolved, true);
    const bool unsupervised =
        !strcmp(name, "unsupervised.yaml") || !strcmp(name, "mvtec.yaml") || !strcmp(name, "visa.yaml");
    assert_int_equal(resolved.regime, unsupervised ? REGIME_UNSUPERVISED : REGIME_SUPERVISED);
    /* The paper's numbers, whatever the set. */
    assert_true(a.epochs == 300 && a.batch == 32 && a.seed == 0 && a.hidden == 1024);
    assert_true(a.adaptor_lr == 1e-4 && a.adaptor_decay == 1e-2 && a.head_lr == 2e-4 && a.head_decay == 1e-5);
    assert_true(a.lr_drop == 0.4 && a.lr_drop_first == 0.8 && a.lr_drop_second == 0.9 && a.noise_std == 0.015);
    assert_true(resolved.clip == (unsupervised ? 0 : 1) && resolved.stop_grad == unsupervised);
    assert_true(a.rotate == 0 && a.brightness == 0 && a.contrast == 0 && a.shift == 0);
    if (!unsupervised) assert_true(a.flips == 1 && a.dilate == 7 && a.distance_weights == 1);
}

/* An ablation changes something, and nothing that a base recipe must decide. */
static void check_ablation(const char *file, const char *name) {
    Recipe base, r;
    Error e = {0};
    recipe_defaults(&base);
    assert_ok(recipe_load(&base,
                          strcmp(name, "threshold-0.6.yaml") ? BLEMISH_SOURCE_DIR "/recipes/supervised.yaml"
                                                             : BLEMISH_SOURCE_DIR "/recipes/mvtec.yaml",
                          &e),
              e.text);
    r = base;
    assert_ok(recipe_load(&r, file, &e), e.text);
    char *x = json_of(&base), *y = json_of(&r);
    assert_string_not_equal(x, y);
    free(x);
    free(y);
    assert_true(r.epochs == base.epochs && r.regime == base.regime && r.height == base.height && r.seed == base.seed);
}

static void every_shipped_recipe(void **state) {
    (void)state;
    assert_int_equal(for_each_yaml(BLEMISH_SOURCE_DIR "/recipes", check_recipe), 7);
    assert_int_equal(for_each_yaml(BLEMISH_SOURCE_DIR "/recipes/ablations", check_ablation), 13);
}

/* docs/recipes.md lists every key with its default and its help as the program has them. */
static void documented_keys(void **state) {
    (void)state;
    static char text[1 << 16];
    FILE *file = fopen(BLEMISH_SOURCE_DIR "/docs/recipes.md", "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    Recipe r;
    recipe_defaults(&r);
    const char *name, *help;
    char value[64], row[512];
    size_t missing = 0;
    for (size_t i = 0; recipe_key(&r, i, &name, value, &help); i++) {
        snprintf(row, sizeof row, "| `%s` | %s | %s |\n", name, value, help);
        if (strstr(text, row)) continue;
        print_message("docs/recipes.md lacks: %s", row);
        missing++;
    }
    assert_int_equal(missing, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_files_change_only_what_they_say),
        cmocka_unit_test(refusals_name_the_line_and_change_nothing),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(truncated_and_changed_files),
        cmocka_unit_test(json_is_a_recipe_file),
        cmocka_unit_test(every_shipped_recipe),
        cmocka_unit_test(documented_keys),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
