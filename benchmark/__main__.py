if __name__ == '__main__':
    import console.start  # noqa: F401 (an error in an import below becomes one line)

from benchmark.measure import main

if __name__ == '__main__':  # the processes of the benchmark import this file, too
    main()
