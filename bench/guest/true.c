/* The least program: what a container costs when its program costs nothing. */
int main(void) { return 0; }
