//! Uploads and a disk without room: its reserve, and a small file system that is filled to the end.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::base::error::Kind;
use crate::fleet::service::create_site;
use crate::testing::{each_backend_with, in_folder};

#[tokio::test(flavor = "multi_thread")]
async fn uploads_leave_a_reserve_to_the_database() {
    let all = |settings: &mut crate::base::config::Settings| {
        settings.storage.reserve_mib = u64::MAX;
        settings.storage.reserve_percent = 100;
    };
    each_backend_with(all, |app| async move {
        let acme = testing::vendor(&app, "acme").await;
        let refused = send(&app, &acme, Method::POST, "/v2/acme/belt/blobs/uploads/", &[], b"").await.expect(507);
        let body: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.code().as_str(), body["errors"][0]["detail"]["code"].as_str()), ("DENIED", Some("disk-full")));
        assert!(app.blobs.list_staged().unwrap().is_empty());
        let manifest = br#"{"schemaVersion":2,"manifests":[]}"#;
        let refused = send(&app, &acme, Method::PUT, "/v2/acme/belt/manifests/list", &[("content-type", INDEX_TYPE)], manifest).await;
        assert!(String::from_utf8_lossy(&refused.expect(507).body).contains("disk-full"));
        crate::account::service::sign_in(&app, "owner@acme.example", testing::PASSWORD.to_owned(), "203.0.113.9", "").await.unwrap();
        app.ready.prove(&app.db).await.unwrap();
    })
    .await;
}

/// A file system in memory; it is taken away with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount one.
    fn mount(mib: u32) -> Option<Self> {
        let folder = std::env::temp_dir().join(crate::base::ids::new("pithead-disk"));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&folder).output();
        if mounted.is_ok_and(|done| done.status.success()) {
            return Some(Self(folder));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        None
    }

    /// Fills what is left; the file with which that is done.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

async fn pushed(app: &App, who: &Actor, size: usize) -> u16 {
    let bytes = vec![7; size];
    let path = format!("/v2/acme/belt/blobs/uploads/?digest={}", Digest::of(&bytes));
    send(app, who, Method::POST, &path, &[], &bytes).await.status.as_u16()
}

fn staged(app: &App) -> u64 {
    let sizes = std::fs::read_dir(app.blobs.staged("x").parent().unwrap()).unwrap();
    sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_uploads_and_lets_people_work() {
    let Some(disk) = SmallDisk::mount(64) else {
        println!("not run: this user may not mount a small file system");
        return;
    };
    let data: &Path = &disk.0.join("data");
    in_folder(
        data,
        |settings| settings.storage.reserve_mib = 0,
        |app| async move {
            let acme = testing::vendor(&app, "acme").await;
            let mine = testing::operator(&app, "mine").await;
            app.room.lay_aside();
            assert_eq!(pushed(&app, &acme, 1 << 20).await, 201);
            // Refused while its bytes come, not by what it announces.
            let filler = disk.fill();
            let location = "/v2/acme/belt/blobs/uploads/";
            for _ in 0..3 {
                assert_eq!(pushed(&app, &acme, 3 << 20).await, 507);
                assert_eq!(staged(&app), 0, "what had come is freed at once");
            }
            send(&app, &acme, Method::POST, location, &[], b"").await;
            // People go on: what was laid aside is given up for them.
            for n in 0..10 {
                create_site(&app, &mine, &format!("Shaft {n}")).await.unwrap();
            }
            // When that is used up too, it is said as it is.
            disk.fill();
            let mut last = None;
            for n in 20..3_000 {
                if let Err(e) = create_site(&app, &mine, &format!("Shaft {n} {}", "x".repeat(40))).await {
                    last = Some(e);
                    break;
                }
            }
            let last = last.expect("the disk is full");
            assert!(last.code == "too-many-sites" || last.kind == Kind::Full, "{last}");
            std::fs::remove_file(filler).unwrap();
            assert_eq!(pushed(&app, &acme, 3 << 20).await, 201, "it recovers by itself");
            app.ready.prove(&app.db).await.unwrap();
            testing::assert_intact(&app).await;
        },
    )
    .await;
}
