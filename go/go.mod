module github.com/libvh/libvh/go

go 1.19
