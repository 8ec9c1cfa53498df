"""check: is what int8 loses what params.yaml allows?"""
