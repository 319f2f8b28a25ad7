/* Signals handled during matrix products must leave the heap and the result alone: dnnl_sgemm, whose stack lies in
 * the heap on AVX-512, would not. */
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile sig_atomic_t caught;
static void count_signal(int number) {
    (void)number;
    caught++;
}

static void products_survive_signals(void **state) {
    (void)state;
    Error e = {0};
    Engine *engine;
    assert_int_equal(engine_open(&engine, 2, &e), BLEMISH_OK);
    const int before = engine_enter(engine);
    enum { M = 70, N = 130, K = 300 };
    Random r = random_new(1, 0);
    float *a = array_new(M * K, sizeof *a, &e), *b = array_new(K * N, sizeof *b, &e);
    float *c = array_new(M * N, sizeof *c, &e), *expected = array_new(M * N, sizeof *c, &e);
    for (size_t i = 0; i < M * K; i++) a[i] = random_normal(&r);
    for (size_t i = 0; i < K * N; i++) b[i] = random_normal(&r);
    assert_int_equal(gemm(engine, false, false, M, N, K, a, K, b, N, false, expected, N, &e), BLEMISH_OK);

    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, NULL);
    const double end = now_seconds() + 2;
    while (now_seconds() < end || caught < 20) {
        assert_int_equal(gemm(engine, false, false, M, N, K, a, K, b, N, false, c, N, &e), BLEMISH_OK);
        assert_memory_equal(c, expected, M * N * sizeof *c);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    engine_leave(before);
    array_free(a), array_free(b), array_free(c), array_free(expected);
    engine_close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_survive_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
