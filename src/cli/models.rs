//! `llamero models`: the catalog and the files in the models folder, as a table.

use super::{print, summary::human_bytes};
use crate::{
    config::Environment,
    models::{Catalog, ModelsFolder, Store, StoredModel, gguf},
};
use std::{fs, path::Path};

const HEAD: [&str; 6] = ["NAME", "TYPE", "SIZE", "CONTEXT", "STATE", "LICENCE"];

pub(super) fn run(models_dir: Option<&Path>, environment: &Environment) -> anyhow::Result<()> {
    let store = Store::new(ModelsFolder::locate(models_dir, environment)?, environment);
    let catalog = Catalog::embedded();
    let mut rows = known(&store, catalog);
    rows.extend(others(&store, catalog)?);
    print(&table(&rows))?;
    print(&format!("\nFolder: {}\nAny other GGUF file can be served by its path.\n", store.folder.path().display()))
}

/// A row for each model of the catalog.
fn known(store: &Store, catalog: &Catalog) -> Vec<[String; 6]> {
    let row = |model: &crate::models::CatalogModel| {
        let state = match store.stored(model) {
            StoredModel::Missing => "not here",
            StoredModel::Unverified(_) => "here, not verified",
            StoredModel::Verified(_) => "ready",
        };
        [
            model.name.clone(),
            model.quantization.clone(),
            human_bytes(model.size_mb.saturating_mul(1_000_000)),
            model.context.to_string(),
            state.to_owned(),
            model.licence.clone(),
        ]
    };
    catalog.models.iter().map(row).collect()
}

/// A row for each file in the folder that the catalog does not name.
fn others(store: &Store, catalog: &Catalog) -> anyhow::Result<Vec<[String; 6]>> {
    let mut rows = Vec::new();
    for path in store.folder.gguf_files()? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if catalog.get(&name).is_some() {
            continue;
        }
        let bytes = fs::metadata(&path).map(|metadata| metadata.len())?;
        let unknown = || "?".to_owned();
        let (kind, context, state) = match gguf::check_file(&path) {
            Ok(header) => (
                header.quantization().map_or_else(unknown, str::to_owned),
                header.context_length.map_or_else(unknown, |length| length.to_string()),
                "local file".to_owned(),
            ),
            Err(_) => (unknown(), unknown(), "not usable".to_owned()),
        };
        rows.push([name, kind, human_bytes(bytes), context, state, unknown()]);
    }
    Ok(rows)
}

/// Formats rows as a table with columns as wide as their widest cell.
fn table(rows: &[[String; 6]]) -> String {
    let head = HEAD.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    all().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_the_catalog_and_local_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine.gguf"), "nonsense").unwrap();
        let home = folder.path().join("home");
        let store = Store::new(ModelsFolder::at(folder.path()), &Environment::of([("HF_HOME", home.as_os_str())]));
        let catalog = Catalog { models: vec![Catalog::embedded().models[0].clone()] };

        let mut rows = known(&store, &catalog);
        rows.extend(others(&store, &catalog).unwrap());

        let expected = "\
NAME                   TYPE  SIZE   CONTEXT  STATE       LICENCE
smollm2-135m-instruct  Q4_1  98 MB  8192     not here    Apache-2.0
mine                   ?     8 B    ?        not usable  ?
";
        assert_eq!(table(&rows), expected);
    }
}
