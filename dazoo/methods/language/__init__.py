"""Pictures and names of classes in one space: methods on frozen features of vision-language models such as CLIP."""
