#include "helper_pth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], own[128], source[160];

/* A whole resnet18 trunk, in bytes to keep it small. */
static BlemishStatus write_trunk(const char *path, Error *e) {
    static uint8_t zeros[256 * 256 * 9];
    TrunkTensor trunk[256];
    Tensor tensors[256];
    const size_t count = trunk_tensors("resnet18", trunk, 256);
    for (size_t i = 0; i < count; i++) {
        tensors[i] =
            (Tensor){.name = trunk[i].name, .type = TENSOR_U8, .rank = trunk[i].rank, .data = zeros, .count = 1};
        for (size_t k = 0; k < trunk[i].rank; k++) {
            tensors[i].shape[k] = trunk[i].shape[k];
            tensors[i].count *= trunk[i].shape[k];
        }
        assert_true(tensors[i].count <= sizeof zeros);
    }
    return safetensors_write(path, tensors, count, NULL, 0, e);
}

static int setup(void **state) {
    (void)state;
    Error e = {0};
    strcpy(folder, "/tmp/blemish-weights-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(own, sizeof own, "%s/new/own", folder);
    snprintf(source, sizeof source, "%s/trunk.safetensors", folder);
    if (setenv("BLEMISH_WEIGHTS", own, 1) || setenv("HOME", folder, 1) || unsetenv("XDG_CACHE_HOME")) return -1;
    return write_trunk(source, &e) == BLEMISH_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* Names in $BLEMISH_WEIGHTS, hidden ones too, that are not "." or "..". */
static size_t count_files(void) {
    size_t count = 0;
    DIR *d = opendir(own);
    if (d == NULL) return 0;
    while (readdir(d)) count++;
    closedir(d);
    return count - 2;
}

static void known_files_are_listed(void **state) {
    (void)state;
    BlemishWeights w;
    size_t i = 0;
    for (; weights_known(i, &w) && w.url[0]; i++) {
        char expected[200];
        snprintf(expected, sizeof expected, "%s-%s.pth", w.backbone, w.sha256_prefix);
        assert_string_equal(w.name, expected);
        snprintf(expected, sizeof expected, "https://download.pytorch.org/models/%s", w.name);
        assert_string_equal(w.url, expected);
        assert_int_equal(strlen(w.sha256_prefix), 8);
        assert_string_equal(w.backbone, trunk_name(i));
    }
    assert_int_equal(i, 4);
    assert_string_equal(w.backbone, "builtin");
    assert_string_equal(trunk_name(i), "builtin");
    assert_false(weights_known(i + 1, &w));
    assert_null(trunk_name(i + 1));
}

static void folders_follow_the_environment(void **state) {
    char path[256], expected[256];
    assert_int_equal(weights_folder(0, path, sizeof path), 1);
    assert_string_equal(path, own);
    assert_int_equal(weights_folder(1, path, sizeof path), 1);
    snprintf(expected, sizeof expected, "%s/.cache/blemish", folder);
    assert_string_equal(path, expected);
    assert_int_equal(weights_folder(2, path, sizeof path), 1);
    assert_string_equal(path, BLEMISH_SOURCE_DIR "/models");
    assert_int_equal(weights_folder(3, path, sizeof path), 0);
    assert_int_equal(weights_folder(0, path, strlen(own)), 0); /* no room for the terminator */
    setenv("XDG_CACHE_HOME", "/somewhere", 1);
    assert_int_equal(weights_folder(1, path, sizeof path), 1);
    assert_string_equal(path, "/somewhere/blemish");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_int_equal(weights_folder(1, path, sizeof path), 1);
    assert_string_equal(path, expected);
    unsetenv("XDG_CACHE_HOME");
    setenv("BLEMISH_WEIGHTS", "", 1);
    assert_int_equal(weights_folder(0, path, sizeof path), 1);
    assert_string_equal(path, expected);
    unsetenv("HOME");
    assert_int_equal(weights_folder(0, path, sizeof path), 1);
    assert_string_equal(path, BLEMISH_SOURCE_DIR "/models");
    assert_int_equal(weights_folder(1, path, sizeof path), 0);
    setenv("HOME", folder, 1);
    setenv("BLEMISH_WEIGHTS", own, 1);
    (void)state;
}

static void imports_are_checked_copied_and_found(void **state) {
    (void)state;
    char path[256], expected[256];
    Error e = {0};
    assert_int_equal(weights_find("resnet18", path, sizeof path, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "resnet18: found no weights in "));
    assert_non_null(strstr(e.text, own));
    assert_non_null(strstr(e.text, "expected resnet18-f37072fd.pth, resnet18.pth or resnet18.safetensors"));
    assert_non_null(strstr(e.text, "; blemish weights fetch resnet18 downloads them"));
    assert_int_equal(weights_find("resnet101", path, sizeof path, &e), BLEMISH_ERROR_ARGUMENT);

    e = (Error){0};
    if (weights_import(source, NULL, path, sizeof path, &e)) fail_msg("%s", e.text);
    snprintf(expected, sizeof expected, "%s/resnet18.safetensors", own);
    assert_string_equal(path, expected);
    assert_int_equal(count_files(), 1);
    char first[65], second[65];
    assert_int_equal(sha256_file(source, first, &e), BLEMISH_OK);
    assert_int_equal(sha256_file(path, second, &e), BLEMISH_OK);
    assert_string_equal(first, second);
    if (weights_find("resnet18", path, sizeof path, &e)) fail_msg("%s", e.text);
    assert_string_equal(path, expected);
    if (weights_import(expected, "resnet18", path, sizeof path, &e)) fail_msg("%s", e.text); /* onto itself */
    assert_int_equal(sha256_file(expected, second, &e), BLEMISH_OK);
    assert_string_equal(first, second);

    /* A published name comes before the backbone's own. */
    char published[256], plain[256];
    snprintf(plain, sizeof plain, "%s/resnet18.pth", own);
    write_bytes(plain, "x", 1);
    assert_int_equal(weights_find("resnet18", path, sizeof path, &e), BLEMISH_OK);
    assert_string_equal(path, plain);
    snprintf(published, sizeof published, "%s/resnet18-f37072fd.pth", own);
    write_bytes(published, "x", 1);
    assert_int_equal(weights_find("resnet18", path, sizeof path, &e), BLEMISH_OK);
    assert_string_equal(path, published);
    assert_int_equal(weights_find("resnet18", path, 10, &e), BLEMISH_ERROR_ARGUMENT);
    unlink(published);
    unlink(plain);
    unlink(expected);
}

static void wrong_files_are_not_imported(void **state) {
    (void)state;
    char path[256], named[256], damaged[256];
    Error e = {0};
    assert_int_equal(weights_import(source, "resnet34", path, sizeof path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "trunk.safetensors: layer1.2.conv1.weight: found no such tensor"));
    assert_int_equal(weights_import(source, "resnet50", path, sizeof path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "layer1.0.conv1.weight: found shape [64, 64, 3, 3], expected [64, 64, 1, 1]"));
    assert_int_equal(weights_import(source, "resnet101", path, sizeof path, &e), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(weights_import("/nonexistent/x", NULL, path, sizeof path, &e), BLEMISH_ERROR_IO);
    /* A file under a published name must be that file. */
    snprintf(named, sizeof named, "%s/resnet18-f37072fd.pth", folder);
    assert_int_equal(write_trunk(named, &e), BLEMISH_OK);
    assert_int_equal(weights_import(named, NULL, path, sizeof path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "resnet18-f37072fd.pth: sha256: found "));
    unlink(named);
    /* A trunk without its last tensors. */
    snprintf(damaged, sizeof damaged, "%s/damaged.pth", folder);
    float value = 1;
    const Tensor one = {"conv1.weight", TENSOR_F32, 1, {1}, &value, 1};
    assert_int_equal(safetensors_write(damaged, &one, 1, NULL, 0, &e), BLEMISH_OK);
    assert_int_equal(weights_import(damaged, NULL, path, sizeof path, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "damaged.pth: found no trunk of a known backbone"));
    unlink(damaged);
    assert_int_equal(count_files(), 0);
}

/* A limit on file sizes stands in for a full disk. */
static void full_disks_leave_nothing_behind(void **state) {
    (void)state;
    char path[256];
    Error e = {0};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = 1000000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const BlemishStatus status = weights_import(source, NULL, path, sizeof path, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, BLEMISH_ERROR_IO);
    assert_int_equal(count_files(), 0);
    /* A file where the folder should be. */
    write_bytes(source, "", 0);
    setenv("BLEMISH_WEIGHTS", source, 1);
    char name[200];
    snprintf(name, sizeof name, "%s/again", folder);
    assert_int_equal(write_trunk(name, &e), BLEMISH_OK);
    assert_int_equal(weights_import(name, NULL, path, sizeof path, &e), BLEMISH_ERROR_IO);
    setenv("BLEMISH_WEIGHTS", own, 1);
}

static void shared_weights_are_imported(void **state) {
    (void)state;
    const char *shared = SHARED_DIR "/weights/texture-resnet18-v0.pth";
    if (access(shared, R_OK) != 0) {
        print_message("%s is absent: not tested\n", shared);
        skip();
    }
    char path[256], expected[256];
    Error e = {0};
    if (weights_import(shared, NULL, path, sizeof path, &e)) fail_msg("%s", e.text);
    snprintf(expected, sizeof expected, "%s/resnet18.pth", own);
    assert_string_equal(path, expected);
    TensorFile f;
    if (tensor_file_open(&f, path, &e)) fail_msg("%s", e.text);
    assert_string_equal(trunk_recognise(&f), "resnet18");
    tensor_file_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_files_are_listed),
        cmocka_unit_test(folders_follow_the_environment),
        cmocka_unit_test(imports_are_checked_copied_and_found),
        cmocka_unit_test(wrong_files_are_not_imported),
        cmocka_unit_test(full_disks_leave_nothing_behind),
        cmocka_unit_test(shared_weights_are_imported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
