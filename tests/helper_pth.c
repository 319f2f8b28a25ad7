#include "helper_pth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

static void little_endian(Text *t, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char byte = (char)(value >> 8 * i);
        text_append(t, &byte, 1);
    }
}

void pickle_text(Text *t, const char *text) {
    PICKLE(t, "X");
    little_endian(t, strlen(text), 4);
    text_append(t, text, strlen(text));
}

void pickle_number(Text *t, int64_t number) {
    PICKLE(t, "\x8a\x08");
    little_endian(t, (uint64_t)number, 8);
}

void pickle_sizes(Text *t, size_t rank, const int64_t *sizes) {
    PICKLE(t, "(");
    for (size_t i = 0; i < rank; i++) pickle_number(t, sizes[i]);
    PICKLE(t, "t");
}

void pickle_global(Text *t, const char *module, const char *name) {
    text_format(t, "c%s\n%s\n", module, name);
}

void pth_state_dict(Text *t, const PthTensor *tensors, size_t count) {
    PICKLE(t, "\x80\x02");
    pickle_global(t, "collections", "OrderedDict");
    PICKLE(t, ")R(");
    for (size_t i = 0; i < count; i++) {
        const PthTensor *x = &tensors[i];
        pickle_text(t, x->name);
        pickle_global(t, "torch._utils", "_rebuild_tensor_v2");
        PICKLE(t, "((");
        pickle_text(t, "storage");
        pickle_global(t, "torch", x->storage_type);
        pickle_text(t, x->key);
        pickle_text(t, "cpu");
        pickle_number(t, x->elements);
        PICKLE(t, "tQ");
        pickle_number(t, x->offset);
        pickle_sizes(t, x->rank, x->sizes);
        pickle_sizes(t, x->rank, x->strides);
        PICKLE(t, "\x89");
        pickle_global(t, "collections", "OrderedDict");
        PICKLE(t, ")RtR");
    }
    PICKLE(t, "u.");
}

void pth_legacy(Text *t, const Text *pickle, const PthStorage *storages, size_t count) {
    PICKLE(t, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}");
    pickle_text(t, "little_endian");
    PICKLE(t, "\x88s.");
    text_append(t, pickle->data, pickle->length);
    PICKLE(t, "\x80\x02](");
    for (size_t i = 0; i < count; i++) pickle_text(t, storages[i].key);
    PICKLE(t, "e.");
    for (size_t i = 0; i < count; i++) {
        little_endian(t, (uint64_t)storages[i].elements, 8);
        text_append(t, storages[i].data, storages[i].length);
    }
}

static void zip_entry(zip_t *zip, const char *name, const void *data, size_t length, int method) {
    zip_source_t *source = zip_source_buffer(zip, data, length, 0);
    assert_non_null(source);
    const zip_int64_t index = zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, method, 0), 0);
}

void pth_zip(const char *path, const Text *pickle, const PthStorage *storages, size_t count, int method) {
    int error;
    unlink(path);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_EXCL, &error);
    assert_non_null(zip);
    zip_entry(zip, "archive/data.pkl", pickle->data, pickle->length, method);
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "archive/data/%s", storages[i].key);
        zip_entry(zip, name, storages[i].data, storages[i].length, method);
    }
    zip_entry(zip, "archive/version", "3\n", 2, ZIP_CM_STORE);
    assert_int_equal(zip_close(zip), 0);
}

void write_bytes(const char *path, const void *bytes, size_t length) {
    unlink(path); /* rewriting a file in place makes some file systems wait for the disk at every close */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (length) assert_int_equal(fwrite(bytes, 1, length, f), length);
    assert_int_equal(fclose(f), 0);
}

uint8_t *read_bytes(const char *path, size_t *length) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *length = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*length ? *length : 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *length, f), *length);
    fclose(f);
    return bytes;
}
