"""The facts about CIFAR-10 that the rest of the project uses."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """A data set of images and labels. One hash verifies its whole content.

    sha256: over the training images (uint8, channels first), training labels (uint8), test images,
    test labels, in official order. mean, std: per channel, of the training images scaled to [0, 1].
    """
    name: str
    image_shape: tuple  # channels, height, width
    classes: tuple  # names, in the order of the labels
    train_size: int  # images, including the validation set
    test_size: int
    validation_size: int  # taken from the end of the training images after a permutation
    split_seed: int  # seed of that permutation
    mean: tuple
    std: tuple
    sha256: str
    archive_bytes: int  # size of the official archive
    package_bytes: int  # size of the npm package

    @property
    def n_inputs(self):
        return math.prod(self.image_shape)

    @property
    def n_classes(self):
        return len(self.classes)

    @property
    def sizes(self):
        return self.train_size, self.test_size

    @property
    def content_bytes(self):
        return (self.train_size + self.test_size) * (self.n_inputs + 1)


CIFAR10 = Description(
    name='CIFAR-10',
    image_shape=(3, 32, 32),
    classes=('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'),
    train_size=50_000,
    test_size=10_000,
    validation_size=5_000,
    split_seed=42,
    mean=(0.491, 0.482, 0.447),
    std=(0.247, 0.243, 0.262),
    sha256='32e5966899bde482c0ef7d076bf69809b4b1488c806f657a814cfca4646ec493',
    archive_bytes=170_498_071,
    package_bytes=138_940_914,
)
