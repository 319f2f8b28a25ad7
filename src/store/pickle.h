/* pickle: Python's pickle format as far as torch.save and lists of names need it, read into values. Nothing is
 * executed. */
#ifndef BLEMISH_PICKLE_H
#define BLEMISH_PICKLE_H

#include "store/store.h"

typedef enum PickleKind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT, /* str, bytes, or an integer of more than 64 bits: its bytes in the pickle */
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,   /* items: key, value, key, value, ... */
    PICKLE_GLOBAL, /* integer: a PickleGlobal */
    PICKLE_CALL,   /* items: the callable (a global), its arguments (a tuple); not called */
    PICKLE_STORAGE /* items: the persistent id by which torch names a storage (a tuple) */
} PickleKind;

/* The globals that a state_dict or a list of NumPy's numbers needs; every other one is refused. */
typedef enum PickleGlobal {
    PICKLE_ORDERED_DICT,
    PICKLE_REBUILD_TENSOR,
    PICKLE_REBUILD_TENSOR_V2,
    PICKLE_REBUILD_PARAMETER,
    PICKLE_NUMPY_DTYPE,
    PICKLE_NUMPY_SCALAR,
    PICKLE_STORAGE_TYPE /* PICKLE_STORAGE_TYPE + a TensorType */
} PickleGlobal;

/* Values refer to each other by index: they may be shared and even cyclic, so a reader must not follow them freely. */
typedef struct PickleValue {
    PickleKind kind;
    int64_t integer;
    double number;
    const char *text;
    size_t length;
    uint32_t *items;
    size_t count, capacity;
} PickleValue;

typedef struct Pickle {
    PickleValue *values;
    size_t count, capacity;
    uint32_t root;
    size_t used; /* bytes from PROTO to STOP */
} Pickle;

/* Reads one pickle from the start of `bytes`, which must outlive it; path is for messages. Memory is bounded by the
 * opcodes read and by a fixed number of values. Close it in either case. */
BlemishStatus pickle_read(Pickle *pickle, const char *path, const uint8_t *bytes, size_t length, Error *e);
void pickle_close(Pickle *pickle);

/* The item of a container; NULL past its end. */
const PickleValue *pickle_item(const Pickle *pickle, const PickleValue *container, size_t index);
bool pickle_text_is(const PickleValue *value, const char *text);

#endif
