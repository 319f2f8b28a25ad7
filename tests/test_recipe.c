#include "train/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

static void assert_same(const Recipe *a, const Recipe *b) {
    Text x = {0}, y = {0};
    recipe_json(a, &x);
    recipe_json(b, &y);
    assert_string_equal(x.data, y.data);
    text_free(&x);
    text_free(&y);
}

static void every_key_takes_its_own_value_back(void **state) {
    (void)state;
    Recipe a, b;
    Error e = {0};
    recipe_defaults(&a);
    recipe_defaults(&b);
    const char *name, *help;
    char value[64], again[64];
    size_t i;
    for (i = 0; recipe_key(&a, i, &name, value, &help); i++) {
        assert_true(strlen(help) > 10);
        assert_int_equal(recipe_set(&b, name, value, &e), BLEMISH_OK);
        assert_true(recipe_key(&b, i, &name, again, &help));
        assert_string_equal(value, again);
    }
    assert_int_equal(i, 36);
    assert_same(&a, &b);
}

static void defaults_are_spec_6(void **state) {
    (void)state;
    Recipe r;
    recipe_defaults(&r);
    assert_int_equal(r.height, 256);
    assert_int_equal(r.width, 256);
    assert_int_equal(r.hidden, 1024);
    assert_int_equal(r.epochs, 300);
    assert_int_equal(r.batch, 32);
    assert_true(r.adaptor_lr == 1e-4 && r.adaptor_decay == 1e-2 && r.head_lr == 2e-4 && r.head_decay == 1e-5);
    assert_true(r.lr_drop == 0.4 && r.lr_drop_first == 0.8 && r.lr_drop_second == 0.9 && r.noise_std == 0.015);
    assert_int_equal(r.dilate, 7);
    assert_true(r.rotate == 0 && r.brightness == 0 && r.contrast == 0 && r.shift == 0 && r.variants == 4);

    Recipe unsupervised = r, supervised = r;
    recipe_resolve(&unsupervised, false);
    recipe_resolve(&supervised, true);
    assert_int_equal(unsupervised.regime, REGIME_UNSUPERVISED);
    assert_true(unsupervised.clip == 0 && unsupervised.perlin_threshold == 0.2 && unsupervised.stop_grad == 1);
    assert_int_equal(supervised.regime, REGIME_SUPERVISED);
    assert_true(supervised.clip == 1 && supervised.perlin_threshold == 0.6 && supervised.stop_grad == 0);
    assert_true(supervised.feature_scale < 0);

    /* A stated value or regime wins over what the data suggest. */
    Error e = {0};
    assert_int_equal(recipe_set(&r, "regime", "unsupervised", &e), BLEMISH_OK);
    assert_int_equal(recipe_set(&r, "clip", "2.5", &e), BLEMISH_OK);
    assert_int_equal(recipe_set(&r, "noise_std", "auto", &e), BLEMISH_OK);
    recipe_resolve(&r, true);
    assert_int_equal(r.regime, REGIME_UNSUPERVISED);
    assert_true(r.clip == 2.5 && r.noise_std == 0.015 && r.stop_grad == 1);
}

typedef struct Refusal {
    const char *key, *value, *message;
} Refusal;

static void bad_values_are_named_and_change_nothing(void **state) {
    (void)state;
    static const Refusal refusals[] = {
        {"epochs", "", "recipe: train.epochs: found '', expected a whole number from 1 to 100000"},
        {"epochs", "0", "recipe: train.epochs: found '0', expected a whole number from 1 to 100000"},
        {"epochs", "10 ", "recipe: train.epochs: found '10 ', expected a whole number from 1 to 100000"},
        {"epochs", "1e3", "recipe: train.epochs: found '1e3', expected a whole number from 1 to 100000"},
        {"epochs", "-5", "recipe: train.epochs: found '-5', expected a whole number from 1 to 100000"},
        {"epochs", "18446744073709551617",
         "recipe: train.epochs: found '18446744073709551617', expected a whole number from 1 to 100000"},
        {"seed", "9007199254740992",
         "recipe: train.seed: found '9007199254740992', expected a whole number from 0 to 9007199254740991"},
        {"head_lr", "nan", "recipe: train.head_lr: found 'nan', expected a number from 0 to 1"},
        {"head_lr", "inf", "recipe: train.head_lr: found 'inf', expected a number from 0 to 1"},
        {"head_lr", "0x1p-4", "recipe: train.head_lr: found '0x1p-4', expected a number from 0 to 1"},
        {"head_lr", " 0.1", "recipe: train.head_lr: found ' 0.1', expected a number from 0 to 1"},
        {"head_lr", "0.1.2", "recipe: train.head_lr: found '0.1.2', expected a number from 0 to 1"},
        {"head_lr", "-0.1", "recipe: train.head_lr: found '-0.1', expected a number from 0 to 1"},
        {"head_lr", "1e999", "recipe: train.head_lr: found '1e999', expected a number from 0 to 1"},
        {"head_lr", "auto", "recipe: train.head_lr: found 'auto', expected a number from 0 to 1"},
        {"clip", "-1", "recipe: train.clip: found '-1', expected a number from 0 to 1000000, or auto"},
        {"feature_scale", "0",
         "recipe: model.feature_scale: found '0', expected a number from 1e-06 to 1000000, or auto"},
        {"stop_grad", "2", "recipe: train.stop_grad: found '2', expected 0 or 1, or auto"},
        {"flips", "yes", "recipe: data.flips: found 'yes', expected 0 or 1"},
        {"hidden", "100", "recipe: model.hidden: found '100', expected a multiple of 64"},
        {"dilate", "4", "recipe: data.dilate: found '4', expected an odd number"},
        {"rotate", "90", "recipe: data.rotate: found '90', expected 0 or 1"},
        {"brightness", "1", "recipe: data.brightness: found '1', expected a number from 0 to 0.9"},
        {"contrast", "-0.1", "recipe: data.contrast: found '-0.1', expected a number from 0 to 0.9"},
        {"shift", "0.3", "recipe: data.shift: found '0.3', expected a number from 0 to 0.25"},
        {"shift", "4px", "recipe: data.shift: found '4px', expected a number from 0 to 0.25"},
        {"variants", "1001", "recipe: data.variants: found '1001', expected a whole number from 0 to 1000"},
        {"variants", "auto", "recipe: data.variants: found 'auto', expected a whole number from 0 to 1000"},
        {"regime", "Supervised", "recipe: train.regime: found 'Supervised', expected auto, unsupervised or supervised"},
        {"variant", "auto", "recipe: model.variant: found 'auto', expected jims or icpr"},
        {"size", "16", "recipe: model.size: found '16', expected a number or HEIGHTxWIDTH, each from 32 to 4096"},
        {"size", "64x", "recipe: model.size: found '64x', expected a number or HEIGHTxWIDTH, each from 32 to 4096"},
        {"size", "x64", "recipe: model.size: found 'x64', expected a number or HEIGHTxWIDTH, each from 32 to 4096"},
        {"size", "64x5000",
         "recipe: model.size: found '64x5000', expected a number or HEIGHTxWIDTH, each from 32 to 4096"},
        {"size", "64x64x64",
         "recipe: model.size: found '64x64x64', expected a number or HEIGHTxWIDTH, each from 32 to 4096"},
        {"mask", "all", "recipe: anomaly.mask: found 'all', expected perlin, uniform or none"},
        {"loss.epochs", "1", "recipe: unknown key 'loss.epochs'; the nearest is 'train.epochs'"},
        {"train.epoch", "1", "recipe: unknown key 'train.epoch'; the nearest is 'train.epochs'"},
        {"trian.epochs", "1", "recipe: unknown key 'trian.epochs'; the nearest is 'train.epochs'"},
        {"train.train.epochs", "1", NULL},
        {"", "1", NULL},
        {".", "1", NULL},
        {"epoch", "1", "recipe: unknown key 'epoch'; the nearest is 'train.epochs'"},
        {"learning_rate", "1", NULL},
        {"prelin_treshold", "1", "recipe: unknown key 'prelin_treshold'; the nearest is 'anomaly.perlin_threshold'"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        Recipe before, r;
        Error e = {0};
        recipe_defaults(&before);
        recipe_defaults(&r);
        assert_int_equal(recipe_set(&r, refusals[i].key, refusals[i].value, &e), BLEMISH_ERROR_ARGUMENT);
        if (refusals[i].message) assert_string_equal(e.text, refusals[i].message);
        assert_same(&before, &r);
    }
    char huge[5000];
    memset(huge, '1', sizeof huge);
    huge[sizeof huge - 1] = '\0';
    Recipe r;
    Error e = {0};
    recipe_defaults(&r);
    assert_int_equal(recipe_set(&r, huge, "1", &e), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(recipe_set(&r, "size", huge, &e), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(recipe_set(&r, "clip", huge, &e), BLEMISH_ERROR_ARGUMENT);
}

/* A full name and its last part are the same key, and no last part stands for two. */
static void short_names_are_unique(void **state) {
    (void)state;
    Recipe r;
    recipe_defaults(&r);
    const char *name, *help;
    char value[64];
    for (size_t i = 0; recipe_key(&r, i, &name, value, &help); i++) {
        assert_non_null(strchr(name, '.'));
        assert_int_equal(recipe_find(name), i);
        assert_int_equal(recipe_find(strchr(name, '.') + 1), i);
    }
    assert_true(recipe_find("size") == SIZE_MAX);
}

static void size_sets_both_sides(void **state) {
    (void)state;
    Recipe r;
    Error e = {0};
    recipe_defaults(&r);
    assert_int_equal(recipe_set(&r, "size", "640x232", &e), BLEMISH_OK);
    assert_int_equal(r.height, 640);
    assert_int_equal(r.width, 232);
    assert_int_equal(recipe_set(&r, "size", "144", &e), BLEMISH_OK);
    assert_int_equal(r.height, 144);
    assert_int_equal(r.width, 144);
}

/* Parsed by an independent reader and set back key by key, the object gives the same recipe. */
static void json_holds_the_whole_recipe(void **state) {
    (void)state;
    Recipe r, back;
    Error e = {0};
    recipe_defaults(&r);
    recipe_defaults(&back);
    assert_int_equal(recipe_set(&r, "seed", "9007199254740991", &e), BLEMISH_OK);
    assert_int_equal(recipe_set(&r, "regime", "supervised", &e), BLEMISH_OK);
    assert_int_equal(recipe_set(&r, "variant", "icpr", &e), BLEMISH_OK);
    assert_int_equal(recipe_set(&r, "head_lr", "0.000123456789012345", &e), BLEMISH_OK);
    Text t = {0};
    recipe_json(&r, &t);
    json_t *object = json_loads(t.data, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    const char *section, *key;
    json_t *keys, *item;
    size_t count = 0;
    json_object_foreach(object, section, keys) json_object_foreach(keys, key, item) {
        char name[64], value[64];
        snprintf(name, sizeof name, "%s.%s", section, key);
        if (json_is_string(item))
            snprintf(value, sizeof value, "%s", json_string_value(item));
        else if (json_is_integer(item))
            snprintf(value, sizeof value, "%lld", (long long)json_integer_value(item));
        else
            snprintf(value, sizeof value, "%.17g", json_real_value(item));
        assert_int_equal(recipe_set(&back, name, value, &e), BLEMISH_OK);
        count++;
    }
    assert_int_equal(json_object_size(object), 5);
    assert_int_equal(count, 36);
    assert_same(&r, &back);
    json_decref(object);
    text_free(&t);
}

static void numbers_do_not_depend_on_the_locale(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "de_DE", NULL};
    size_t i = 0;
    while (names[i] && setlocale(LC_NUMERIC, names[i]) == NULL) i++;
    if (names[i] == NULL) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    double value = 0;
    Text t = {0};
    bool parsed = number_parse("0.25", &value);
    text_json_number(&t, 1.5);
    setlocale(LC_NUMERIC, "C");
    assert_true(parsed && value == 0.25);
    assert_string_equal(t.data, "1.5");
    text_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_takes_its_own_value_back),
        cmocka_unit_test(defaults_are_spec_6),
        cmocka_unit_test(bad_values_are_named_and_change_nothing),
        cmocka_unit_test(short_names_are_unique),
        cmocka_unit_test(size_sets_both_sides),
        cmocka_unit_test(json_holds_the_whole_recipe),
        cmocka_unit_test(numbers_do_not_depend_on_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
