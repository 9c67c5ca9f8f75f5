from benchmark.measure import main

if __name__ == '__main__':  # processes that measure import this file too
    main()
