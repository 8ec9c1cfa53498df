"""The pipeline's stages, one script each: arguments, one call of the library, files. dvc.yaml says what each reads."""
