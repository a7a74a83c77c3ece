//! A file that is mounted as a disk of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;

use super::{run, sudo, try_run};

/// A disk with an ext4 file system, in an image file. Dropping it unmounts it.
pub(crate) struct Disk {
    image: PathBuf,
    folder: PathBuf,
    is_mounted: bool,
}

impl Disk {
    /// Creates an empty disk of a size such as `256M`, and mounts it on `folder`.
    pub(crate) fn new(image: PathBuf, folder: PathBuf, size: &str) -> Result<Self> {
        run(Command::new("truncate").args(["-s", size]).arg(&image))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        Self::existing(image, folder)
    }

    /// Mounts an existing disk.
    pub(crate) fn existing(image: PathBuf, folder: PathBuf) -> Result<Self> {
        let mut disk = Self {
            image,
            folder,
            is_mounted: false,
        };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn mount(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        run(sudo("mount")
            // The system writes by itself only what a caller asks for.
            .args(["-o", "loop,commit=300"])
            .arg(&self.image)
            .arg(&self.folder))
        .context("cannot mount a file; it takes root and loop devices")?;
        self.is_mounted = true;
        run(sudo("chmod").arg("777").arg(&self.folder))
    }

    pub(crate) fn unmount(&mut self) -> Result<()> {
        run(sudo("umount").arg(&self.folder))?;
        self.is_mounted = false;
        Ok(())
    }

    /// Unmounts the disk, restores its content from `copy`, and mounts it again.
    pub(crate) fn restore(&mut self, copy: &Path) -> Result<()> {
        self.unmount()?;
        std::fs::rename(copy, &self.image)?;
        self.mount()
    }

    /// Returns the free space, in bytes.
    pub(crate) fn free(&self) -> Result<u64> {
        let stat = statvfs(&self.folder)?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }

    /// Fills the disk with a file.
    pub(crate) fn fill(&self) -> PathBuf {
        let filler = self.path("filler");
        fill(&filler);
        filler
    }
}

/// Writes to a file until its disk is full.
pub(crate) fn fill(file: &Path) {
    // The expected failure: the disk is full.
    try_run(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", "count=1024"])
            .arg(format!("of={}", file.display())),
    );
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            try_run(sudo("umount").arg("-l").arg(&self.folder));
        }
    }
}

/// Copies what the disk holds at this moment, without what the system has not written to it: two copies that are the same.
pub(crate) fn copy_image(image: &Path, copy: &Path) -> Result<()> {
    loop {
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(image)
            .arg(copy))?;
        if try_run(Command::new("cmp").arg("-s").arg(image).arg(copy)) {
            return Ok(());
        }
    }
}
