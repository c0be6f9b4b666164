import sys

if __name__ == "__main__":
    print("words", sys.argv[1:])
