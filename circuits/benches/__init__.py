"""What is asked of the blocks: testbenches and what is read off them."""
