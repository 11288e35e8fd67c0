/* The boot probe's program: what a boot loader and the first lines of a kernel do, in one sector.
 *
 * Real mode, protected mode, an IRET there (half-working virtualisation fails at it), paging, long
 * mode; then a line to the first serial port, and a halt. boot_probe.py holds its bytes:
 *
 *     as -o probe.o boot_probe.S && ld -Ttext 0x7c00 --oformat binary -o probe.bin probe.o
 */
        .intel_syntax noprefix
        .globl _start
        .set PML4, 0x9000
        .set PDPT, 0xa000
        .set PD, 0xb000
        .set EFER, 0xc0000080

        .code16
_start: cli
        cld
        xor     eax, eax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     di, PML4                        /* three empty tables */
        mov     ecx, 3 * 4096 / 4
        rep stosd
        mov     word ptr [PML4], PDPT + 3       /* present, writable */
        mov     word ptr [PDPT], PD + 3
        mov     word ptr [PD], 0x83             /* the first 2 MiB, one to one */
        lgdt    [gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        ljmp    0x08, offset protected

        .code32
protected:
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, 0x7c00
        pushfd
        push    0x08
        push    offset returned
        iretd
returned:
        mov     eax, cr4
        or      eax, 0x20                       /* PAE */
        mov     cr4, eax
        mov     eax, PML4
        mov     cr3, eax
        mov     ecx, EFER
        rdmsr
        or      eax, 0x100                      /* long mode enable */
        wrmsr
        mov     eax, cr0
        or      eax, 0x80000000                 /* paging */
        mov     cr0, eax
        ljmp    0x18, offset long

        .code64
long:   mov     esi, offset message
        mov     edx, 0x3f8
next:   lodsb
        test    al, al
        jz      stop
        out     dx, al
        jmp     next
stop:   hlt
        jmp     stop

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff              /* 0x08: 32-bit code */
        .quad   0x00cf92000000ffff              /* 0x10: data */
        .quad   0x00af9a000000ffff              /* 0x18: 64-bit code */
gdtr:   .word   gdtr - gdt - 1
        .long   gdt
message:
        .asciz  "BUILDFLOW-PROBE\r\n"
        .org    510
        .word   0xaa55
