"""Anybody's image file as an image of CIFAR-10's size."""

import warnings

import numpy as np

from cifar10 import description
from console.errors import UserError

BACKGROUND = 'white'
_, HEIGHT, WIDTH = description.CIFAR10.image_shape


class ImageError(UserError):
    """The file is not an image that can be read; the message names it and says why."""


def read_image(path):
    """A file of any format that Pillow reads → uint8 (3, 32, 32).

    The first frame, turned as its EXIF orientation says; colors as RGB, 16-bit grey divided by 257;
    what is transparent lies on white. The largest centered square is cut out, and shrunk with
    Pillow's BOX filter: each of the 32×32 pixels is the mean of those that it covers.
    Raises ImageError for what is no image, is damaged, or has more pixels than
    PIL.Image.MAX_IMAGE_PIXELS, which it tells before they are unpacked.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of odd metadata, which do not matter here
        warnings.simplefilter('error', Image.DecompressionBombWarning)
        try:
            Image.init()
            with Image.open(path, formats=[name for name in Image.ID if name != 'EPS']) as image:  # EPS runs Ghostscript
                image = _eight_bits(ImageOps.exif_transpose(image)).convert('RGBA')
            flat = Image.alpha_composite(Image.new('RGBA', image.size, BACKGROUND), image).convert('RGB')
            small = ImageOps.fit(flat, (WIDTH, HEIGHT), method=Image.Resampling.BOX)
        except Exception as error:  # whatever unverified bytes can cause in a parser
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            reason = ' '.join(reason.split()) or type(error).__name__
            raise ImageError(f'{path} can not be read as an image ({reason}): give an image file') from error
    return np.asarray(small).transpose(2, 0, 1)


def _eight_bits(image):
    """Pillow would cut 16-bit grey off at 255."""
    from PIL import Image

    if image.mode == 'F':
        raise ValueError('its pixels are floating-point numbers on a scale that it does not tell')
    if not image.mode.startswith('I'):
        return image
    return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8))
