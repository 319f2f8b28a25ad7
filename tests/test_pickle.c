#include "helper_pth.h"
#include "store/pickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Reads a pickle from a block of exactly its size, so that the sanitizer sees any read beyond it. */
static BlemishStatus read_exact(Pickle *p, const void *bytes, size_t length, uint8_t **copy, Error *e) {
    *copy = malloc(length ? length : 1);
    assert_non_null(*copy);
    memcpy(*copy, bytes, length);
    *e = (Error){0};
    const BlemishStatus status = pickle_read(p, "file", *copy, length, e);
    assert_int_equal(status, e->status);
    if (status != BLEMISH_OK) {
        assert_int_equal(strncmp(e->text, "file: ", 6), 0);
        assert_null(strchr(e->text, '\n'));
    }
    return status;
}

static void assert_refused(const void *bytes, size_t length, const char *message) {
    Pickle p;
    Error e;
    uint8_t *copy;
    const BlemishStatus status = read_exact(&p, bytes, length, &copy, &e);
    if (status != BLEMISH_ERROR_FORMAT || strstr(e.text, message) == NULL)
        fail_msg("found %d '%s', expected '%s'", status, e.text, message);
    pickle_close(&p);
    free(copy);
}
#define REFUSED(literal, message) assert_refused(literal, sizeof(literal) - 1, message)

static void values_are_what_the_format_says(void **state) {
    (void)state;
    static const char bytes[] = "\x80\x04\x95\0\0\0\0\0\0\0\0(" /* FRAME, MARK */
                                "N\x88\x89"                     /* None, True, False */
                                "K\xff"
                                "M\xff\xff"
                                "J\xfe\xff\xff\xff" /* 255, 65535, -2 */
                                "\x8a\x00"
                                "\x8a\x01\xff"
                                "\x8a\x02\xff\x00"           /* 0, -1, 255 */
                                "\x8a\x08\0\0\0\0\0\0\0\x80" /* -2^63 */
                                "G\x3f\xf8\0\0\0\0\0\0"      /* 1.5 */
                                "X\2\0\0\0ab"
                                "\x8c\1c"
                                "U\1d"
                                "T\1\0\0\0e"
                                "C\1f"
                                "B\1\0\0\0g"
                                "]K\1a(K\2K\3e"    /* [1, 2, 3] */
                                "}K\1K\2s(K\3K\4u" /* {1: 2, 3: 4} */
                                ")"
                                "K\1\x85"
                                "K\1K\2\x86"
                                "K\1K\2K\3\x87"
                                "q\7h\7r\x08\0\0\0j\x08\0\0\0\x94" /* four references to one tuple */
                                "t.rest";
    Pickle p;
    Error e;
    uint8_t *copy;
    assert_int_equal(read_exact(&p, bytes, sizeof bytes - 1, &copy, &e), BLEMISH_OK);
    assert_int_equal(p.used, sizeof bytes - 1 - 4);
    const PickleValue *root = &p.values[p.root];
    assert_int_equal(root->kind, PICKLE_TUPLE);
    assert_int_equal(root->count, 25);
    size_t at = 0;
    assert_int_equal(pickle_item(&p, root, at++)->kind, PICKLE_NONE);
    assert_int_equal(pickle_item(&p, root, at++)->integer, 1);
    assert_int_equal(pickle_item(&p, root, at++)->integer, 0);
    const int64_t integers[] = {255, 65535, -2, 0, -1, 255, INT64_MIN};
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(pickle_item(&p, root, at)->kind, PICKLE_INT);
        assert_true(pickle_item(&p, root, at++)->integer == integers[i]);
    }
    assert_true(pickle_item(&p, root, at++)->number == 1.5);
    static const char *const texts[] = {"ab", "c", "d", "e", "f", "g"};
    for (size_t i = 0; i < 6; i++) assert_true(pickle_text_is(pickle_item(&p, root, at++), texts[i]));
    const PickleKind kinds[] = {PICKLE_LIST, PICKLE_DICT, PICKLE_TUPLE, PICKLE_TUPLE, PICKLE_TUPLE, PICKLE_TUPLE};
    const size_t counts[] = {3, 4, 0, 1, 2, 3};
    for (size_t i = 0; i < 6; i++, at++) {
        const PickleValue *v = pickle_item(&p, root, at);
        assert_int_equal(v->kind, kinds[i]);
        assert_int_equal(v->count, counts[i]);
        for (size_t k = 0; k < v->count; k++) assert_int_equal(pickle_item(&p, v, k)->integer, k + 1);
        assert_null(pickle_item(&p, v, v->count));
    }
    assert_ptr_equal(pickle_item(&p, root, at - 1), pickle_item(&p, root, at));
    assert_ptr_equal(pickle_item(&p, root, at - 1), pickle_item(&p, root, at + 1));
    pickle_close(&p);
    free(copy);
}

/* OrderedDict with pairs is how Python 2 wrote it. */
static void calls_are_kept_and_not_made(void **state) {
    (void)state;
    static const char bytes[] = "\x80\x02(ccollections\nOrderedDict\n](](K\1K\2eK\3K\4\x86\x65\x85R"
                                "}X\t\0\0\0_metadataNsb"
                                "ctorch._utils\n_rebuild_parameter\nK\7\x85RK\x09\x85Qt.";
    Pickle p;
    Error e;
    uint8_t *copy;
    if (read_exact(&p, bytes, sizeof bytes - 1, &copy, &e)) fail_msg("%s", e.text);
    const PickleValue *root = &p.values[p.root], *dict = pickle_item(&p, root, 0), *call = pickle_item(&p, root, 1);
    assert_int_equal(dict->kind, PICKLE_DICT);
    assert_int_equal(dict->count, 4);
    for (size_t i = 0; i < 4; i++) assert_int_equal(pickle_item(&p, dict, i)->integer, i + 1);
    assert_int_equal(call->kind, PICKLE_CALL);
    assert_int_equal(pickle_item(&p, call, 0)->integer, PICKLE_REBUILD_PARAMETER);
    assert_int_equal(pickle_item(&p, pickle_item(&p, call, 1), 0)->integer, 7);
    assert_int_equal(pickle_item(&p, root, 2)->kind, PICKLE_STORAGE);
    pickle_close(&p);
    free(copy);
}

static void other_globals_are_refused_by_name(void **state) {
    (void)state;
    REFUSED("\x80\x02"
            "cos\nsystem\n(X\2\0\0\0lstR.",
            "file: pickle: refuses global 'os.system'");
    REFUSED("\x80\x04\x8c\x08"
            "builtins\x8c\4eval\x93.",
            "refuses global 'builtins.eval'");
    REFUSED("\x80\x02"
            "cos\nsys\x1b[31mtem\n.",
            "refuses global 'os.sys?[31mtem'");
    REFUSED("\x80\x02"
            "ccollections\nOrderedDictX\n.",
            "refuses global 'collections.OrderedDictX'");
    REFUSED("\x80\x02"
            "ctorch\nFloatTensor\n.",
            "refuses global 'torch.FloatTensor'");
    REFUSED("\x80\x02"
            "ctorch\nShortStorage\n.",
            "refuses global 'torch.ShortStorage'");
    REFUSED("\x80\x02"
            "ccollections.OrderedDict\n\n.",
            "refuses global 'collections.OrderedDict.'");
    char longer[600] = "\x80\x02"
                       "c";
    memset(longer + 3, 'a', 500);
    strcpy(longer + 503, "\nb\n.");
    assert_refused(longer, strlen(longer), "refuses a long global");
    REFUSED("\x80\x02"
            "cos\nsystem",
            "without an end");
    REFUSED("\x80\x04K\1\x8c\1x\x93.", "expected a global's names");
    REFUSED("\x80\x02K\1)R.", "expected a call of a global");
    REFUSED("\x80\x02"
            "ccollections\nOrderedDict\nK\1R.",
            "expected a call of a global with a tuple");
    REFUSED("\x80\x02"
            "ccollections\nOrderedDict\n]K\1a\x85R.",
            "expected pairs");
    REFUSED("\x80\x02"
            "ccollections\nOrderedDict\nK\1\x85R0.",
            "refuses opcode");
}

/* Every opcode that torch.save does not write, with its position. */
static void other_opcodes_are_refused(void **state) {
    (void)state;
    static const char accepted[] = "(.GJKMNQRTUXabcehjqrstu})]BC\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95";
    for (int opcode = 0; opcode < 256; opcode++) {
        if (opcode && opcode != 0x80 && strchr(accepted, opcode)) continue;
        const char bytes[8] = {'\x80', 2, ')', (char)opcode, 0, 0, 0, '.'};
        char message[40];
        snprintf(message, sizeof message, "byte 3: refuses opcode 0x%02x", opcode);
        assert_refused(bytes, sizeof bytes, message);
    }
}

static void broken_stacks_are_refused(void **state) {
    (void)state;
    REFUSED("", "end of the file");
    REFUSED("\x80\x02", "end of the file");
    REFUSED("\x80\x01N.", "protocol 2 to 5");
    REFUSED("\x80\x06N.", "protocol 2 to 5");
    REFUSED("(N.x", "protocol 2 to 5");
    REFUSED("\x80\x02.", "empty stack");
    REFUSED("\x80\x02NN.", "values left");
    REFUSED("\x80\x02(.", "empty stack");
    REFUSED("\x80\x02(N.", "values left");
    REFUSED("\x80\x02t.", "no mark");
    REFUSED("\x80\x02"
            "e.",
            "no mark");
    REFUSED("\x80\x02(e.", "expected a list");
    REFUSED("\x80\x02N(e.", "expected a list");
    REFUSED("\x80\x02)(Ne.", "expected a list");
    REFUSED("\x80\x02}Na.", "expected a list");
    REFUSED("\x80\x02]NNs.", "expected a dict");
    REFUSED("\x80\x02}(Nu.", "key without a value");
    REFUSED("\x80\x02}((Nu.", "expected a dict");
    REFUSED("\x80\x02N(\x86.", "found a mark");
    REFUSED("\x80\x02\x87.", "empty stack");
    REFUSED("\x80\x02(\x85.", "found a mark");
    REFUSED("\x80\x02"
            "a.",
            "empty stack");
    REFUSED("\x80\x02"
            "b.",
            "empty stack");
    REFUSED("\x80\x02Q.", "empty stack");
    REFUSED("\x80\x02R.", "empty stack");
    REFUSED("\x80\x02q\1.", "empty stack");
    REFUSED("\x80\x02(\x94.", "empty stack");
    REFUSED("\x80\x02h\0.", "without a value");
    REFUSED("\x80\x02Nq\2h\1.", "without a value");
    REFUSED("\x80\x02Nj\xff\xff\xff\xff.", "without a value");
    REFUSED("\x80\x02Nr\xff\xff\xff\xff.", "out of range");
    REFUSED("\x80\x02X\xff\xff\xff\xff.", "longer than the file");
    REFUSED("\x80\x02X\2\0\0\0a", "longer than the file");
    REFUSED("\x80\x02\x8a\xff.", "longer than the file");
    REFUSED("\x80\x02G\0\0", "end of the file");
}

/* Small files that ask for much: each must end soon, in bounded memory. */
static void hostile_growth_is_bounded(void **state) {
    (void)state;
    Text t = {0};
    PICKLE(&t, "\x80\x02]q\0");
    for (int i = 0; i < 1000; i++) PICKLE(&t, "(h\0h\0h\0h\0h\0h\0h\0h\0t"); /* references to references */
    PICKLE(&t, "NNt.");
    assert_refused(t.data, t.length, "no mark");
    text_free(&t);
    PICKLE(&t, "\x80\x02]q\0h\0a."); /* a list that holds itself is no harm */
    Pickle p;
    Error e;
    uint8_t *copy;
    assert_int_equal(read_exact(&p, t.data, t.length, &copy, &e), BLEMISH_OK);
    assert_ptr_equal(pickle_item(&p, &p.values[p.root], 0), &p.values[p.root]);
    pickle_close(&p);
    free(copy);
    text_free(&t);
    /* One list of 20000 pairs copied by each of many calls. */
    PICKLE(&t, "\x80\x02"
               "ccollections\nOrderedDict\nq\0](");
    for (int i = 0; i < 20000; i++) PICKLE(&t, "NN\x86");
    PICKLE(&t, "e\x85q\1");
    for (int i = 0; i < 20000; i++) PICKLE(&t, "h\0h\1R");
    PICKLE(&t, ".");
    assert_refused(t.data, t.length, "too many items");
    text_free(&t);
    PICKLE(&t, "\x80\x02");
    for (int i = 0; i < (1 << 20) + 1; i++) PICKLE(&t, "N");
    assert_refused(t.data, t.length, "too many values");
    text_free(&t);
    PICKLE(&t, "\x80\x02");
    for (int i = 0; i < (1 << 20) + 1; i++) PICKLE(&t, "(");
    assert_refused(t.data, t.length, "too many values");
    text_free(&t);
}

/* Random programs of real opcodes reach states that bit flips do not. */
static void random_programs_do_no_harm(void **state) {
    (void)state;
    static const char opcodes[] = "(NKMJX]})tabesuQRqhcr\x85\x86\x87\x88\x89\x8a\x8c\x93\x94";
    Random r = random_new(11, 0);
    size_t read = 0;
    for (int i = 0; i < 50000; i++) {
        Text t = {0};
        PICKLE(&t, "\x80\x02");
        const uint32_t n = random_below(&r, 40);
        for (uint32_t k = 0; k < n; k++) {
            const char opcode = opcodes[random_below(&r, sizeof opcodes - 1)];
            if (opcode == 'c') {
                pickle_global(&t, "collections", "OrderedDict");
                continue;
            }
            text_append(&t, &opcode, 1);
            static const char sizes[][2] = {{'K', 1}, {'M', 2}, {'J', 4},    {'X', 4},   {'q', 1},
                                            {'h', 1}, {'r', 4}, {'\x8a', 1}, {'\x8c', 1}};
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
                if (sizes[s][0] == opcode) {
                    const char operand[4] = {(char)random_below(&r, 3), 0, 0, 0};
                    text_append(&t, operand, (size_t)sizes[s][1]);
                }
        }
        PICKLE(&t, ".");
        Pickle p;
        Error e;
        uint8_t *copy;
        read += read_exact(&p, t.data, t.length, &copy, &e) == BLEMISH_OK;
        pickle_close(&p);
        free(copy);
        text_free(&t);
    }
    assert_true(read > 100); /* the programs are not all nonsense */
}

static void truncated_pickles_are_refused(void **state) {
    (void)state;
    const PthTensor tensor = {"a", "FloatStorage", "0", 6, 0, 2, {2, 3}, {3, 1}};
    Text t = {0};
    pth_state_dict(&t, &tensor, 1);
    for (size_t length = 0; length < t.length; length++) assert_refused(t.data, length, "file: pickle: ");
    text_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_the_format_says),   cmocka_unit_test(calls_are_kept_and_not_made),
        cmocka_unit_test(other_globals_are_refused_by_name), cmocka_unit_test(other_opcodes_are_refused),
        cmocka_unit_test(broken_stacks_are_refused),         cmocka_unit_test(hostile_growth_is_bounded),
        cmocka_unit_test(random_programs_do_no_harm),        cmocka_unit_test(truncated_pickles_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
