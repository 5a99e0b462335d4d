"""LoRA on frozen modules: on the base fusion, and on the last layers of the encoders over states computed once."""
