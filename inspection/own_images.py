"""Read an image file as an image of CIFAR-10's size."""

import warnings
from pathlib import Path

import numpy as np

from cifar10 import description
from console.errors import UserError

BACKGROUND = 'white'
CHANNELS, HEIGHT, WIDTH = description.CIFAR10.image_shape


class ImageError(UserError):
    """The file cannot be read as an image; the message names it and the reason."""


def read_images(paths):
    """The images that can be read, [(path, image)], and an ImageError for each of the other files."""
    images, errors = [], []
    for path in paths:
        try:
            images.append((path, read_image(path)))
        except ImageError as error:
            errors.append(error)
    return images, errors


def read_image(path):
    """An image file of any format that Pillow reads → uint8 (3, 32, 32).

    It uses the first frame, applies the EXIF orientation, converts colors to RGB, divides 16-bit gray by 257,
    and puts transparent images on white. The largest centered square is cut out and shrunk with Pillow's BOX
    filter: each of the 32×32 pixels is the mean of the pixels that it covers. Raises ImageError for a file that
    is not an image, is damaged, or has more than PIL.Image.MAX_IMAGE_PIXELS pixels (before they are unpacked).
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # odd metadata does not matter here
        warnings.simplefilter('error', Image.DecompressionBombWarning)
        try:
            if Path(path).exists() and not Path(path).is_file():
                raise ValueError('not a file')  # a device or a pipe may never end
            Image.init()
            formats = [name for name in Image.ID if name != 'EPS']  # EPS runs Ghostscript
            with Image.open(path, formats=formats) as image:
                image = _eight_bits(ImageOps.exif_transpose(image)).convert('RGBA')
            flat = Image.alpha_composite(Image.new('RGBA', image.size, BACKGROUND), image)
            flat = flat.convert('L' if CHANNELS == 1 else 'RGB')
            small = ImageOps.fit(flat, (WIDTH, HEIGHT), method=Image.Resampling.BOX)
        except Exception as error:  # whatever unverified bytes can cause in a parser
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason = ' '.join(reason.split()) or type(error).__name__
            raise ImageError(f'cannot read {path} as an image: {reason}') from error
    return np.asarray(small).reshape(HEIGHT, WIDTH, CHANNELS).transpose(2, 0, 1)


def _eight_bits(image):
    """Scale 16-bit gray to 8 bits: Pillow would clip it at 255."""
    from PIL import Image

    if image.mode == 'F':
        raise ValueError('floating-point pixels with an unknown range; convert it to 8-bit')
    if not image.mode.startswith('I'):
        return image
    return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
