"""The pipeline's stages, one script each: arguments, one call of the library, files. dvc.yaml says what each reads."""

import octet.core  # noqa: F401 before all else: from here on Ctrl-C ends a stage with one line
