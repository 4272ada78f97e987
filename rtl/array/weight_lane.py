"""Decoder of one weight byte into what the multipliers of a lane take."""

from myhdl import Signal, always, always_comb, concat, instances, intbv

from rtl.convert import module


@module
def weight_lane(clk, mxfp4, element, keep_1, weight_2, packed: bool):
    """The multiplier's form of a weight byte, two clocks later if keep_1 is high in between; else it stays.

    The first register is for the way to the rows, which lie far from one another.

    An MXFP4 byte holds two E2M1 weights, low nibble first; each is turned into twice its value, -12 to 12.
    packed: weight_2 (18 bits) is the int8, or odd * 2^13 + even.
    Otherwise: weight_2 (2 x 5 bits, signed) is the unsigned low nibble and the signed high nibble of the int8, or
    even and odd.
    """
    even_1, odd_1, even_2, odd_2 = [Signal(intbv(0)[5:]) for _ in range(4)]

    @always(clk.posedge)
    def decode():
        even = intbv(0)[5:]
        odd = intbv(0)[5:]
        below = intbv(0)[5:]
        if mxfp4:
            # Twice the magnitude of E2M1: 0 1 2 3 4 6 8 12.
            even[3] = element[2] & element[1]
            even[2] = element[2] & ((not element[1]) | element[0])
            even[1] = (element[1] & (not element[2])) | (element[2] & (not element[1]) & element[0])
            even[0] = element[0] & (not element[2])
            odd[3] = element[6] & element[5]
            odd[2] = element[6] & ((not element[5]) | element[4])
            odd[1] = (element[5] & (not element[6])) | (element[6] & (not element[5]) & element[4])
            odd[0] = element[4] & (not element[6])
            # A negative one: every bit above the lowest one is inverted. No adder, so no carry chain of five bits.
            if element[3]:
                below[1] = even[0]
                below[2] = even[0] | even[1]
                below[3] = (even[0] | even[1]) | even[2]
                below[4] = (even[0] | even[1]) | (even[2] | even[3])
                even[:] = even ^ below
            if element[7]:
                below[0] = 0
                below[1] = odd[0]
                below[2] = odd[0] | odd[1]
                below[3] = (odd[0] | odd[1]) | odd[2]
                below[4] = (odd[0] | odd[1]) | (odd[2] | odd[3])
                odd[:] = odd ^ below
            if packed and even[4]:
                # The borrow inverts every bit up to the lowest one.
                below[0] = 1
                below[1] = not odd[0]
                below[2] = not (odd[0] | odd[1])
                below[3] = not ((odd[0] | odd[1]) | odd[2])
                below[4] = not ((odd[0] | odd[1]) | (odd[2] | odd[3]))
                odd[:] = odd ^ below
        elif packed:
            even[:] = element[5:]
            if element[7]:
                odd[:] = 31
        else:
            even[4:] = element[4:]
            odd[:] = concat(element[7], element[8:4])
        even_1.next = even
        odd_1.next = odd

    @always(clk.posedge)
    def keep():
        if keep_1:
            even_2.next = even_1
            odd_2.next = odd_1

    if packed:
        # Between the two: the sign of the even weight, or the upper bits of the byte.
        middle_1, middle_2 = [Signal(intbv(0)[8:]) for _ in range(2)]

        @always(clk.posedge)
        def extend():
            fill = intbv(0)[8:]
            if mxfp4:
                if element[3] & (element[3:] != 0):
                    fill[:] = 255
            else:
                if element[7]:
                    fill[:] = 255
                fill[3:] = element[8:5]
            middle_1.next = fill

        @always(clk.posedge)
        def keep_middle():
            if keep_1:
                middle_2.next = middle_1

        @always_comb
        def merge():
            weight_2.next = concat(odd_2, middle_2, even_2)

    else:

        @always_comb
        def merge():
            weight_2.next = concat(odd_2, even_2)

    return instances()
