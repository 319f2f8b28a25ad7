/* A quantised model on processors of less ability, which oneDNN pretends when it is told to before it starts: so each
 * is this program again, as `test_isa MODEL RESULT`. */
#include "helper_model.h"
#include "infer/infer.h"

#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEIGHT = 65, WIDTH = 90 };

/* What the other program found. */
typedef struct Found {
    char precision[8], refusal[1024]; /* of int8 where it is asked for; empty where it runs */
    float score, map[HEIGHT * WIDTH];
} Found;

static int judge(const char *model, const char *result) {
    BlemishSessionSettings settings = {.threads = 2, .batch = 1, .precision = BLEMISH_PRECISION_INT8};
    Found found = {0};
    Session s;
    Model m;
    Error e = {0};
    BlemishImage image;
    BlemishResult r;
    if (model_read(&m, model, &e)) return 2;
    if (session_open(&s, &m, &settings, &e))
        snprintf(found.refusal, sizeof found.refusal, "%s", e.text);
    else
        session_close(&s);
    settings.precision = BLEMISH_PRECISION_AUTO;
    picture_make(&image, 70, 50, 3, 9);
    if (session_open(&s, &m, &settings, &e) || session_run(&s, &image, 1, &r, &e)) return 3;
    snprintf(found.precision, sizeof found.precision, "%s", session_cost(&s).precision);
    found.score = r.score;
    memcpy(found.map, r.map, sizeof found.map);
    session_close(&s);
    image_free(&image);
    model_close(&m);
    return atomic_write_file(result, &found, sizeof found, &e) ? 4 : 0;
}

static char program[PATH_SIZE];

/* isa NULL: as the processor is. */
static void judge_at(const char *isa, const char *model, const char *folder, Found *found) {
    extern char **environ;
    char result[PATH_SIZE], *arguments[] = {program, (char *)(uintptr_t)model, result, NULL};
    pid_t child;
    int status;
    path_in(result, folder, "result");
    if (isa)
        setenv("ONEDNN_MAX_CPU_ISA", isa, 1);
    else
        unsetenv("ONEDNN_MAX_CPU_ISA");
    assert_int_equal(posix_spawn(&child, program, NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0) fail_msg("%s: the other program ended with status %x", isa ? isa : "native", (unsigned)status);
    FILE *f = fopen(result, "rb");
    assert_non_null(f);
    assert_int_equal(fread(found, sizeof *found, 1, f), 1);
    fclose(f);
}

static double difference(const Found *a, const Found *b) {
    double worst = fabs((double)(a->score - b->score));
    for (size_t i = 0; i < HEIGHT * WIDTH; i++) worst = fmax(worst, fabs((double)(a->map[i] - b->map[i])));
    return worst;
}

/* Sums of integers are exact, so that processors with VNNI differ in the last bit of the fp32 factor behind a sum
 * alone, which moves a byte of a map by one now and then. Without VNNI it is fp32, as far away as test_int8.c allows.
 */
static void every_processor_finds_nearly_the_same(void **state) {
    (void)state;
#if !defined(__x86_64__)
    skip();
#endif
    enum { WITH_VNNI = 3 };
    static const char *const levels[] = {
        "AVX512_CORE_BF16", "AVX512_CORE_VNNI", "AVX2_VNNI", "AVX512_CORE", "AVX2", "SSE41"};
    char folder[PATH_SIZE], path[PATH_SIZE];
    Error e = {0};
    Model m;
    Found *native = malloc(sizeof *native), *found = malloc(sizeof *found);
    assert_true(native && found);
    folder_make(folder);
    model_make(&m, HEIGHT, WIDTH);
    model_quantise(&m);
    assert_ok(model_write(&m, path_in(path, folder, "m.blemish"), &e), e.text);
    model_close(&m);
    judge_at(NULL, path, folder, native);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        judge_at(levels[i], path, folder, found);
        const bool integers = strcmp(found->precision, "int8") == 0;
        const double worst = difference(native, found);
        print_message("%s: %s, map and score within %.1e of %s\n", levels[i], found->precision, worst,
                      native->precision);
        assert_true(integers == (found->refusal[0] == '\0'));
        if (!integers) assert_non_null(strstr(found->refusal, "precision: found int8, expected fp32"));
        if (i >= WITH_VNNI) assert_false(integers);
        assert_true(worst < (strcmp(found->precision, native->precision) ? 0.03 : 0.003));
    }
    folder_remove(folder);
    free(native), free(found);
}

int main(int argc, char **argv) {
    if (argc == 3) return judge(argv[1], argv[2]);
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_processor_finds_nearly_the_same)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
