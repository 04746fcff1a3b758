"""Models of other packages behind the Segmenter protocol; each package is imported when one of its models is loaded."""
