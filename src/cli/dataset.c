#include "cli.h"

BlemishDataset *data_open(const DataOptions *options) {
    BlemishDatasetSettings settings;
    BlemishDataset *dataset;
    blemish_dataset_defaults(&settings);
    settings.layout = options->layout;
    settings.category = options->category;
    settings.test_fraction = options->test_fraction;
    settings.seed = options->seed;
    settings.fold = (int)options->fold;
    settings.mask_ratio = options->mask_ratio;
    settings.tolerant = options->tolerant;
    if (options->masks != UINT64_MAX) settings.mask_count = (int64_t)options->masks;
    if (blemish_dataset_open(&dataset, options->path, &settings)) {
        fail("%s", dataset ? blemish_dataset_error(dataset) : "memory is short");
        blemish_dataset_close(dataset);
        return NULL;
    }
    return dataset;
}

size_t data_count(const BlemishDataset *dataset, BlemishSplit split, BlemishLabel label) {
    size_t count = 0;
    for (size_t i = 0; i < blemish_dataset_count(dataset); i++) {
        BlemishSample sample = blemish_dataset_sample(dataset, i);
        count += sample.split == split && sample.label == label;
    }
    return count;
}

bool data_say_resized(BlemishDataset *dataset, BlemishSplit split) {
    size_t count, first;
    if (blemish_dataset_resized_masks(dataset, split, &count, &first)) {
        fail("%s", blemish_dataset_error(dataset));
        return false;
    }
    if (count) {
        const BlemishSample sample = blemish_dataset_sample(dataset, first);
        say("%s split: %zu mask%s of another size than the image, resized; the first is %s of %s",
            split == BLEMISH_SPLIT_TRAIN ? "train" : "test", count, count == 1 ? "" : "s", sample.mask_path,
            sample.path);
    }
    return true;
}
