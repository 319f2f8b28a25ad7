#include "store/store.h"

#include <string.h>

typedef struct Architecture {
    const char *name;
    bool bottleneck;  /* blocks of 1x1, 3x3, 1x1 convolutions with four times the planes going out */
    size_t blocks[3]; /* of layer1, layer2, layer3 */
    size_t width;     /* inner channels of a bottleneck for 64 planes */
} Architecture;

/* He et al., "Deep residual learning" (2016), table 1; Zagoruyko & Komodakis, "Wide residual networks" (2016). */
static const Architecture architectures[] = {
    {"wide_resnet50_2", true, {3, 4, 6}, 128}, {"resnet50", true, {3, 4, 6}, 64}, {"resnet34", false, {3, 4, 6}, 64},
    {"resnet18", false, {2, 2, 2}, 64},        {"builtin", false, {2, 2, 2}, 64},
};
enum { ARCHITECTURES = sizeof architectures / sizeof *architectures, TENSORS_MAX = 256 };

typedef struct List {
    TrunkTensor *out;
    size_t count, capacity;
} List;

static void add(List *list, size_t rank, const size_t *shape, const char *prefix, const char *part, const char *end) {
    if (list->count < list->capacity) {
        TrunkTensor *t = &list->out[list->count];
        snprintf(t->name, sizeof t->name, "%s%s.%s", prefix, part, end);
        t->rank = rank;
        memcpy(t->shape, shape, rank * sizeof *shape);
    }
    list->count++;
}

static void add_conv(List *list, const char *prefix, const char *conv, const char *norm, size_t in, size_t out,
                     size_t kernel) {
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    add(list, 4, (const size_t[]){out, in, kernel, kernel}, prefix, conv, "weight");
    for (size_t i = 0; i < 4; i++) add(list, 1, &out, prefix, norm, parts[i]);
}

size_t trunk_tensors(const char *backbone, TrunkTensor *out, size_t capacity) {
    const Architecture *a = architectures;
    while (a < architectures + ARCHITECTURES && strcmp(a->name, backbone)) a++;
    if (a == architectures + ARCHITECTURES) return 0;
    List list = {.out = out, .capacity = capacity};
    add_conv(&list, "", "conv1", "bn1", 3, 64, 7);
    size_t in = 64;
    for (size_t layer = 0; layer < 3; layer++) {
        const size_t planes = (size_t)64 << layer, inner = a->bottleneck ? a->width << layer : planes;
        const size_t wide = a->bottleneck ? 4 * planes : planes;
        for (size_t block = 0; block < a->blocks[layer]; block++, in = wide) {
            char prefix[32];
            snprintf(prefix, sizeof prefix, "layer%zu.%zu.", layer + 1, block);
            add_conv(&list, prefix, "conv1", "bn1", in, inner, a->bottleneck ? 1 : 3);
            add_conv(&list, prefix, "conv2", "bn2", inner, inner, 3);
            if (a->bottleneck) add_conv(&list, prefix, "conv3", "bn3", inner, wide, 1);
            if (block == 0 && (layer > 0 || a->bottleneck))
                add_conv(&list, prefix, "downsample.0", "downsample.1", in, wide, 1);
        }
    }
    return list.count;
}

static bool holds(const TensorFile *file, const TrunkTensor *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const Tensor *t = tensor_file_find(file, expected[i].name);
        if (t == NULL || t->rank != expected[i].rank ||
            memcmp(t->shape, expected[i].shape, t->rank * sizeof *t->shape) != 0)
            return false;
    }
    return true;
}

const char *trunk_recognise(const TensorFile *file) {
    TrunkTensor expected[TENSORS_MAX];
    /* Largest first: resnet34's trunk contains every tensor of resnet18's. builtin's tensors are resnet18's. */
    for (size_t i = 0; i < ARCHITECTURES; i++)
        if (holds(file, expected, trunk_tensors(architectures[i].name, expected, TENSORS_MAX)))
            return architectures[i].name;
    return NULL;
}

const char *trunk_name(size_t index) {
    return index < ARCHITECTURES ? architectures[index].name : NULL;
}
