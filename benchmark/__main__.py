if __name__ == '__main__':
    import console.start  # noqa: F401 (what ends the imports below is one line)

from benchmark.measure import main

if __name__ == '__main__':  # processes that measure import this file too
    main()
