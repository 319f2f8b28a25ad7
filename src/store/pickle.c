#include "store/pickle.h"
#include "store/reader.h"

#include <stdlib.h>
#include <string.h>

/* A state_dict of a thousand tensors has some thirty thousand values. */
enum { VALUES_MAX = 1 << 20, ITEMS_MAX = 4 * VALUES_MAX, NAME_MAX_LENGTH = 128 };
#define NOTHING UINT32_MAX /* on the stack: a mark; in the memo: an empty place */

/* Opcodes by their names in Python's pickletools. */
enum {
    MARK = '(',
    STOP = '.',
    BINFLOAT = 'G',
    BININT = 'J',
    BININT1 = 'K',
    BININT2 = 'M',
    NONE = 'N',
    BINPERSID = 'Q',
    REDUCE = 'R',
    BINSTRING = 'T',
    SHORT_BINSTRING = 'U',
    BINUNICODE = 'X',
    APPEND = 'a',
    BUILD = 'b',
    GLOBAL = 'c',
    APPENDS = 'e',
    BINGET = 'h',
    LONG_BINGET = 'j',
    BINPUT = 'q',
    LONG_BINPUT = 'r',
    SETITEM = 's',
    TUPLE = 't',
    SETITEMS = 'u',
    EMPTY_DICT = '}',
    EMPTY_LIST = ']',
    EMPTY_TUPLE = ')',
    BINBYTES = 'B',
    SHORT_BINBYTES = 'C',
    PROTO = 0x80,
    TUPLE1 = 0x85,
    TUPLE2 = 0x86,
    TUPLE3 = 0x87,
    NEWTRUE = 0x88,
    NEWFALSE = 0x89,
    LONG1 = 0x8a,
    SHORT_BINUNICODE = 0x8c,
    STACK_GLOBAL = 0x93,
    MEMOIZE = 0x94,
    FRAME = 0x95
};

static const struct {
    const char *name;
    int value;
} globals[] = {
    {"collections.OrderedDict", PICKLE_ORDERED_DICT},
    {"torch._utils._rebuild_tensor", PICKLE_REBUILD_TENSOR},
    {"torch._utils._rebuild_tensor_v2", PICKLE_REBUILD_TENSOR_V2},
    {"torch._utils._rebuild_parameter", PICKLE_REBUILD_PARAMETER},
    {"numpy.dtype", PICKLE_NUMPY_DTYPE},
    {"numpy.core.multiarray.scalar", PICKLE_NUMPY_SCALAR},
    {"numpy._core.multiarray.scalar", PICKLE_NUMPY_SCALAR}, /* its name since NumPy 2 */
    {"torch.FloatStorage", PICKLE_STORAGE_TYPE + TENSOR_F32},
    {"torch.HalfStorage", PICKLE_STORAGE_TYPE + TENSOR_F16},
    {"torch.BFloat16Storage", PICKLE_STORAGE_TYPE + TENSOR_BF16},
    {"torch.DoubleStorage", PICKLE_STORAGE_TYPE + TENSOR_F64},
    {"torch.LongStorage", PICKLE_STORAGE_TYPE + TENSOR_I64},
    {"torch.IntStorage", PICKLE_STORAGE_TYPE + TENSOR_I32},
    {"torch.CharStorage", PICKLE_STORAGE_TYPE + TENSOR_I8},
    {"torch.ByteStorage", PICKLE_STORAGE_TYPE + TENSOR_U8},
};

typedef struct Machine {
    Pickle *pickle;
    const char *path;
    const uint8_t *bytes;
    size_t at, length;
    uint32_t *stack, *memo;
    size_t depth, stack_capacity, memo_count, memo_capacity;
    size_t items; /* in all containers: copying a list again and again must not exhaust memory */
    Error *e;
} Machine;

static BlemishStatus bad(Machine *m, const char *what) {
    return error_set(m->e, BLEMISH_ERROR_FORMAT, "%s: pickle: byte %zu: %s", m->path, m->at, what);
}

static BlemishStatus take(Machine *m, size_t n, const uint8_t **out) {
    if (n > m->length - m->at) return bad(m, "found the end of the file, expected more");
    *out = m->bytes + m->at;
    m->at += n;
    return BLEMISH_OK;
}

/* Little-endian unsigned number of n <= 8 bytes. */
static BlemishStatus take_number(Machine *m, size_t n, uint64_t *out) {
    const uint8_t *b;
    if (take(m, n, &b)) return m->e->status;
    *out = 0;
    for (size_t i = 0; i < n; i++) *out |= (uint64_t)b[i] << 8 * i;
    return BLEMISH_OK;
}

static BlemishStatus push(Machine *m, uint32_t index) {
    if (m->depth >= VALUES_MAX) return bad(m, "found too many values");
    uint32_t *stack = array_grow(m->stack, &m->stack_capacity, m->depth + 1, sizeof *stack, m->e);
    if (stack == NULL) return m->e->status;
    m->stack = stack;
    stack[m->depth++] = index;
    return BLEMISH_OK;
}

static BlemishStatus push_value(Machine *m, PickleValue value) {
    Pickle *p = m->pickle;
    if (p->count >= VALUES_MAX) return bad(m, "found too many values");
    PickleValue *values = array_grow(p->values, &p->capacity, p->count + 1, sizeof *values, m->e);
    if (values == NULL) return m->e->status;
    p->values = values;
    values[p->count] = value;
    return push(m, (uint32_t)p->count++);
}

static BlemishStatus pop(Machine *m, uint32_t *index) {
    if (m->depth == 0 || m->stack[m->depth - 1] == NOTHING) return bad(m, "found an empty stack, expected a value");
    *index = m->stack[--m->depth];
    return BLEMISH_OK;
}

/* The stack's place just above the last mark. */
static BlemishStatus find_mark(Machine *m, size_t *above) {
    for (*above = m->depth; *above > 0; --*above)
        if (m->stack[*above - 1] == NOTHING) return BLEMISH_OK;
    return bad(m, "found no mark on the stack");
}

/* Appends the stack's items from `from` to the end, to the container, and pops them. */
static BlemishStatus extend(Machine *m, uint32_t container, size_t from) {
    PickleValue *v = &m->pickle->values[container];
    const size_t n = m->depth - from;
    if (n > ITEMS_MAX - m->items) return bad(m, "found too many items");
    if (n) {
        uint32_t *items = array_grow(v->items, &v->capacity, v->count + n, sizeof *items, m->e);
        if (items == NULL) return m->e->status;
        memcpy(items + v->count, m->stack + from, n * sizeof *items);
        v->items = items;
        v->count += n;
        m->items += n;
        m->depth = from;
    }
    return BLEMISH_OK;
}

/* A new value of the stack's items from `from` on. */
static BlemishStatus collect(Machine *m, PickleKind kind, size_t from) {
    for (size_t i = from; i < m->depth; i++)
        if (m->stack[i] == NOTHING) return bad(m, "found a mark, expected a value");
    if (push_value(m, (PickleValue){.kind = kind})) return m->e->status;
    const uint32_t value = m->stack[--m->depth];
    if (extend(m, value, from)) return m->e->status;
    return push(m, value);
}

static BlemishStatus collect_last(Machine *m, PickleKind kind, size_t n) {
    if (m->depth < n) return bad(m, "found an empty stack, expected a value");
    return collect(m, kind, m->depth - n);
}

static BlemishStatus collect_marked(Machine *m, PickleKind kind) {
    size_t above;
    if (find_mark(m, &above)) return m->e->status;
    if (collect(m, kind, above)) return m->e->status;
    m->stack[m->depth - 2] = m->stack[m->depth - 1]; /* over the mark */
    m->depth--;
    return BLEMISH_OK;
}

/* Moves items above `from` into the container below them; `kind` says which it must be. */
static BlemishStatus add_items(Machine *m, PickleKind kind, size_t from, size_t below) {
    if (below == 0 || m->stack[below - 1] == NOTHING || m->pickle->values[m->stack[below - 1]].kind != kind)
        return bad(m, kind == PICKLE_DICT ? "expected a dict to add to" : "expected a list to add to");
    for (size_t i = from; i < m->depth; i++)
        if (m->stack[i] == NOTHING) return bad(m, "found a mark, expected a value");
    if (kind == PICKLE_DICT && (m->depth - from) % 2) return bad(m, "found a key without a value");
    if (extend(m, m->stack[below - 1], from)) return m->e->status;
    m->depth = below;
    return BLEMISH_OK;
}

static BlemishStatus add_last(Machine *m, PickleKind kind, size_t n) {
    if (m->depth < n + 1) return bad(m, "found an empty stack, expected a value");
    return add_items(m, kind, m->depth - n, m->depth - n);
}

static BlemishStatus add_marked(Machine *m, PickleKind kind) {
    size_t above;
    if (find_mark(m, &above)) return m->e->status;
    return add_items(m, kind, above, above - 1);
}

static BlemishStatus push_text(Machine *m, uint64_t length) {
    const uint8_t *text;
    if (length > m->length || take(m, (size_t)length, &text)) return bad(m, "found a text longer than the file");
    return push_value(m, (PickleValue){.kind = PICKLE_TEXT, .text = (const char *)text, .length = (size_t)length});
}

static BlemishStatus push_sized_text(Machine *m, size_t length_bytes) {
    uint64_t length;
    if (take_number(m, length_bytes, &length)) return m->e->status;
    return push_text(m, length);
}

static BlemishStatus push_long(Machine *m) {
    uint64_t n, bits = 0;
    const uint8_t *b;
    if (take_number(m, 1, &n)) return m->e->status;
    if (n > 8) return push_text(m, n);
    if (take(m, n, &b)) return m->e->status;
    for (size_t i = 0; i < 8; i++) /* two's complement, its sign in the last byte given */
        bits |= (uint64_t)(i < n ? b[i] : n && b[n - 1] & 0x80 ? 0xff : 0) << 8 * i;
    return push_value(m, (PickleValue){.kind = PICKLE_INT, .integer = (int64_t)bits});
}

static BlemishStatus push_float(Machine *m) {
    const uint8_t *b;
    if (take(m, 8, &b)) return m->e->status;
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++) bits = bits << 8 | b[i]; /* the one big-endian number of the format */
    PickleValue v = {.kind = PICKLE_FLOAT};
    memcpy(&v.number, &bits, sizeof bits);
    return push_value(m, v);
}

static BlemishStatus push_global(Machine *m, const char *module, size_t module_length, const char *name,
                                 size_t name_length) {
    char full[2 * NAME_MAX_LENGTH + 2];
    if (module_length > NAME_MAX_LENGTH || name_length > NAME_MAX_LENGTH) return bad(m, "refuses a long global");
    snprintf(full, sizeof full, "%.*s.%.*s", (int)module_length, module, (int)name_length, name);
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (strcmp(full, globals[i].name) == 0)
            return push_value(m, (PickleValue){.kind = PICKLE_GLOBAL, .integer = globals[i].value});
    for (char *c = full; *c; c++)
        if (*c < 0x20 || *c > 0x7e) *c = '?';
    return error_set(m->e, BLEMISH_ERROR_FORMAT, "%s: pickle: refuses global '%s'", m->path, full);
}

static BlemishStatus read_global(Machine *m) {
    const char *lines[2];
    size_t lengths[2];
    for (size_t i = 0; i < 2; i++) {
        lines[i] = (const char *)m->bytes + m->at;
        const char *end = memchr(lines[i], '\n', m->length - m->at);
        if (end == NULL) return bad(m, "found a global without an end");
        lengths[i] = (size_t)(end - lines[i]);
        m->at += lengths[i] + 1;
    }
    return push_global(m, lines[0], lengths[0], lines[1], lengths[1]);
}

static BlemishStatus stack_global(Machine *m) {
    uint32_t name, module;
    if (pop(m, &name) || pop(m, &module)) return m->e->status;
    const PickleValue *a = &m->pickle->values[module], *b = &m->pickle->values[name];
    if (a->kind != PICKLE_TEXT || b->kind != PICKLE_TEXT) return bad(m, "expected a global's names");
    return push_global(m, a->text, a->length, b->text, b->length);
}

/* OrderedDict() and OrderedDict([[key, value], ...]) make a dict; other calls are kept as they stand. */
static BlemishStatus reduce(Machine *m) {
    Pickle *p = m->pickle;
    if (m->depth < 2 || m->stack[m->depth - 1] == NOTHING || m->stack[m->depth - 2] == NOTHING)
        return bad(m, "found an empty stack, expected a call");
    const uint32_t arguments = m->stack[m->depth - 1], callable = m->stack[m->depth - 2];
    if (p->values[callable].kind != PICKLE_GLOBAL || p->values[arguments].kind != PICKLE_TUPLE)
        return bad(m, "expected a call of a global with a tuple");
    if (p->values[callable].integer != PICKLE_ORDERED_DICT) return collect_last(m, PICKLE_CALL, 2);
    m->depth -= 2;
    if (push_value(m, (PickleValue){.kind = PICKLE_DICT})) return m->e->status;
    const uint32_t dict = m->stack[m->depth - 1];
    const PickleValue *pairs = pickle_item(p, &p->values[arguments], 0);
    for (size_t i = 0; pairs && i < pairs->count; i++) {
        const PickleValue *pair = pickle_item(p, pairs, i);
        if (pairs->kind != PICKLE_LIST || pair->count != 2) return bad(m, "expected pairs of key and value");
        if (push(m, pair->items[0]) || push(m, pair->items[1]) || extend(m, dict, m->depth - 2)) return m->e->status;
    }
    return BLEMISH_OK;
}

static BlemishStatus memo_put(Machine *m, uint64_t index) {
    if (index >= VALUES_MAX) return bad(m, "found a memo place out of range");
    if (m->depth == 0 || m->stack[m->depth - 1] == NOTHING) return bad(m, "found an empty stack, expected a value");
    uint32_t *memo = array_grow(m->memo, &m->memo_capacity, (size_t)index + 1, sizeof *memo, m->e);
    if (memo == NULL) return m->e->status;
    m->memo = memo;
    while (m->memo_count <= index) memo[m->memo_count++] = NOTHING;
    memo[index] = m->stack[m->depth - 1];
    return BLEMISH_OK;
}

static BlemishStatus memo_get(Machine *m, uint64_t index) {
    if (index >= m->memo_count || m->memo[index] == NOTHING) return bad(m, "found a memo place without a value");
    return push(m, m->memo[index]);
}

static BlemishStatus step(Machine *m, uint8_t opcode) {
    uint64_t n = 0;
    uint32_t top;
    switch (opcode) {
    case FRAME:
        return take_number(m, 8, &n); /* a reading hint */
    case MARK:
        return push(m, NOTHING);
    case NONE:
        return push_value(m, (PickleValue){.kind = PICKLE_NONE});
    case NEWTRUE:
        return push_value(m, (PickleValue){.kind = PICKLE_BOOL, .integer = 1});
    case NEWFALSE:
        return push_value(m, (PickleValue){.kind = PICKLE_BOOL});
    case BININT1:
    case BININT2:
    case BININT:
        if (take_number(m, opcode == BININT1 ? 1 : opcode == BININT2 ? 2 : 4, &n)) return m->e->status;
        return push_value(m, (PickleValue){.kind = PICKLE_INT, .integer = opcode == BININT ? (int32_t)n : (int64_t)n});
    case LONG1:
        return push_long(m);
    case BINFLOAT:
        return push_float(m);
    case BINUNICODE:
    case BINSTRING:
    case BINBYTES:
        return push_sized_text(m, 4);
    case SHORT_BINUNICODE:
    case SHORT_BINSTRING:
    case SHORT_BINBYTES:
        return push_sized_text(m, 1);
    case EMPTY_TUPLE:
        return push_value(m, (PickleValue){.kind = PICKLE_TUPLE});
    case EMPTY_LIST:
        return push_value(m, (PickleValue){.kind = PICKLE_LIST});
    case EMPTY_DICT:
        return push_value(m, (PickleValue){.kind = PICKLE_DICT});
    case TUPLE1:
        return collect_last(m, PICKLE_TUPLE, 1);
    case TUPLE2:
        return collect_last(m, PICKLE_TUPLE, 2);
    case TUPLE3:
        return collect_last(m, PICKLE_TUPLE, 3);
    case TUPLE:
        return collect_marked(m, PICKLE_TUPLE);
    case APPEND:
        return add_last(m, PICKLE_LIST, 1);
    case APPENDS:
        return add_marked(m, PICKLE_LIST);
    case SETITEM:
        return add_last(m, PICKLE_DICT, 2);
    case SETITEMS:
        return add_marked(m, PICKLE_DICT);
    case GLOBAL:
        return read_global(m);
    case STACK_GLOBAL:
        return stack_global(m);
    case REDUCE:
        return reduce(m);
    case BUILD:
        return pop(m, &top); /* attributes, as a state_dict's _metadata: nothing we need */
    case BINPERSID:
        return collect_last(m, PICKLE_STORAGE, 1);
    case MEMOIZE:
        return memo_put(m, m->memo_count);
    case BINPUT:
        return take_number(m, 1, &n) ? m->e->status : memo_put(m, n);
    case LONG_BINPUT:
        return take_number(m, 4, &n) ? m->e->status : memo_put(m, n);
    case BINGET:
        return take_number(m, 1, &n) ? m->e->status : memo_get(m, n);
    case LONG_BINGET:
        return take_number(m, 4, &n) ? m->e->status : memo_get(m, n);
    default:
        break;
    }
    m->at--;
    return error_set(m->e, BLEMISH_ERROR_FORMAT, "%s: pickle: byte %zu: refuses opcode 0x%02x", m->path, m->at, opcode);
}

static BlemishStatus run(Machine *m) {
    const uint8_t *b;
    if (take(m, 2, &b)) return m->e->status;
    if (b[0] != PROTO || b[1] < 2 || b[1] > 5) return bad(m, "expected a pickle of protocol 2 to 5");
    for (;;) {
        if (take(m, 1, &b)) return m->e->status;
        if (*b == STOP) break;
        if (step(m, *b)) return m->e->status;
    }
    if (pop(m, &m->pickle->root)) return m->e->status;
    if (m->depth) return bad(m, "found values left on the stack");
    m->pickle->used = m->at;
    return BLEMISH_OK;
}

BlemishStatus pickle_read(Pickle *pickle, const char *path, const uint8_t *bytes, size_t length, Error *e) {
    *pickle = (Pickle){0};
    Machine m = {.pickle = pickle, .path = path, .bytes = bytes, .length = length, .e = e};
    BlemishStatus status = run(&m);
    free(m.stack);
    free(m.memo);
    return status;
}

void pickle_close(Pickle *pickle) {
    for (size_t i = 0; i < pickle->count; i++) free(pickle->values[i].items);
    free(pickle->values);
    *pickle = (Pickle){0};
}

const PickleValue *pickle_item(const Pickle *pickle, const PickleValue *container, size_t index) {
    return index < container->count ? &pickle->values[container->items[index]] : NULL;
}

bool pickle_text_is(const PickleValue *value, const char *text) {
    return value && value->kind == PICKLE_TEXT && value->length == strlen(text) &&
           memcmp(value->text, text, value->length) == 0;
}
